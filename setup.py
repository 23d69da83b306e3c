"""Builds the extension genie_core._native; all but the licence is in pyproject.toml."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from glob import glob

from setuptools import setup

NO_TORCH = """\
Genie's extension is compiled against the torch that it will run with, and this environment
({prefix}) has none. Install torch first, then build without isolation:

    pip install torch setuptools ninja
    pip install --no-build-isolation .
"""


def _flags(variable: str) -> list[str]:
    """What a developer adds, such as sanitizers."""
    return os.environ.get(variable, "").split()


def options() -> dict:
    """What `setup()` needs to build the extension with the torch that is installed."""
    import torch
    from torch.utils.cpp_extension import BuildExtension, CppExtension

    version = torch.__version__.split("+")[0]
    major, minor = (int(part) for part in version.split(".")[:2])
    headers = sorted(glob("native/*/*.h"))
    extension = CppExtension(
        "genie_core._native",
        sorted(glob("native/*/*.cpp")),
        include_dirs=[os.path.abspath("native")],
        depends=[*headers, "setup.py"],
        define_macros=[
            ("GENIE_TORCH", str(major * 100 + minor)),
            ("GENIE_TORCH_STRING", f'"{version}"'),
        ],
        # torch adds the C++ standard and the std::string ABI that it was built with.
        extra_compile_args=[
            "-O3",
            "-g0",
            "-fvisibility=hidden",
            "-fno-plt",
            "-Wall",
            *_flags("GENIE_CXXFLAGS"),
        ],
        extra_link_args=_flags("GENIE_LDFLAGS"),
    )
    # One folder for each torch and Python: objects of another torch look up to date by their
    # times, and load.
    base = os.path.join("build", f"torch{torch.__version__}-{sysconfig.get_config_var('SOABI')}")

    class Build(BuildExtension):
        def finalize_options(self) -> None:
            super().finalize_options()
            self.build_temp = os.path.join(base, "objects")  # an editable build's is thrown away
            self.force = True  # the .so in place may be another torch's; ninja knows what is new

    return {
        "ext_modules": [extension],
        "cmdclass": {"build_ext": Build},
        "options": {"build": {"build_base": base}},
    }


if __name__ == "__main__":
    if importlib.util.find_spec("torch") is None:
        sys.exit(NO_TORCH.format(prefix=sys.prefix))
    # A Genie that is installed already, perhaps for another torch, must not load here.
    os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
    # torch looks for ninja on the path, where that of an environment not activated is missing.
    tools = os.path.dirname(sys.executable)
    os.environ["PATH"] = os.pathsep.join((tools, os.environ.get("PATH", os.defpath)))
    setup(license="Apache-2.0", **options())
