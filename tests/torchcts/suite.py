"""TorchCTS: its parts, and how one is run to its end."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys

import click
import journal

PARTS: dict[str, tuple[str, ...]] = {
    "handwritten": (
        "autograd", "compiler", "device_api", "dtypes", "errors", "memory", "multi_device",
        "operators", "rng", "serialization", "stress", "strides", "training", "workloads",
    ),
    "generated": ("generated",),
    "opinfo": ("opinfo",),
}  # fmt: skip
OPTIONS = {"smoke": ["--level", "1"], "training": ["--level", "2", "--max-samples", "1"]}
_BROKEN = (2, 3, 4)  # of pytest: interrupted, an error of its own, or a test is not found
TIMEOUT = 300  # seconds; what takes longer hangs


def run(
    template: str, device: str, folder: pathlib.Path, tests: list[str], *paths: pathlib.Path
) -> dict[str, journal.Entry]:
    """What became of the tests; one that ends the process is tried again, then passed over.

    `paths` are looked through for TorchCTS before the installed one.
    """
    root = paths[0] if paths else package().parent  # so a test's name begins with torchcts/
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(package() / "templates" / f"manifest.{template}.py", folder / "manifest.py")
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider"),
        *("--device", device, "--non-interactive", *OPTIONS[template]),
        *("--results-dir", str(folder / "results"), f"--rootdir={root}"),
        *("-p", "journal", f"--journal={folder / 'journal.jsonl'}"),
        *(f"--timeout={TIMEOUT}", "--timeout-method=thread"),
    ]
    while True:
        status = subprocess.run([*command, *tests], cwd=folder, env=_environment(*paths)).returncode
        if status in _BROKEN:
            raise click.ClickException(f"pytest ended with status {status}")
        found = journal.read(folder / "journal.jsonl")
        if all(entry.status for entry in found.values()):
            return found


def package() -> pathlib.Path:
    """The folder of TorchCTS, which is not imported for it: that takes a device."""
    spec = importlib.util.find_spec("torchcts")
    if spec is None or spec.origin is None:
        raise click.ClickException("pip install --no-deps torchcts (it asks for an older torch)")
    return pathlib.Path(spec.origin).parent


def _environment(*paths: pathlib.Path) -> dict[str, str]:
    """Small tensors gain nothing from threads, which the machine's other work would slow."""
    here = pathlib.Path(__file__).parent
    found = [*map(str, paths), str(here), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(found), "OMP_NUM_THREADS": "1"}
