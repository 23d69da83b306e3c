"""The metadata, the build script and the lists that must agree with each other."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NO_TORCH = "import runpy, sys; sys.modules['torch'] = None; sys.argv = ['setup.py', {command!r}]; "


@pytest.mark.parametrize("command", ["egg_info", "bdist_wheel", "build_ext"])
def test_without_torch_the_build_stops_at_once_and_says_what_to_do(command, tmp_path):
    code = NO_TORCH.format(command=command) + f"runpy.run_path({str(ROOT / 'setup.py')!r}, "
    result = subprocess.run(
        [sys.executable, "-c", code + "run_name='__main__')"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode != 0
    assert "Install torch first" in result.stderr
    assert "pip install --no-build-isolation ." in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())  # it went no further


def test_the_distribution_declares_its_entry_points():
    dist = importlib.metadata.distribution("genie-remote")
    found = {(point.group, point.name): point.value for point in dist.entry_points}
    assert found["console_scripts", "genie"] == "genie_plugins.cli:main"
    assert found["torch.backends", "remote_accelerator"] == "genie_core._autoload:autoload"
    plugins = {name: value for (group, name), value in found.items() if group == "genie.plugins"}
    assert plugins == {name: f"genie_plugins.{name}" for name in plugins}
    on_disk = {path.parent.name for path in (ROOT / "genie_plugins").glob("*/__init__.py")}
    assert set(plugins) == on_disk


def test_every_package_on_disk_is_listed():
    text = (ROOT / "pyproject.toml").read_text()
    listed = set(re.findall(r'^    "(genie_[\w.]+)",$', text, re.MULTILINE))
    patterns = ("genie_*/**/__init__.py", "benchmarks/**/__init__.py", "tests/**/__init__.py")
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    on_disk = {".".join(path.parent.relative_to(ROOT).parts) for path in found}
    elsewhere = {"genie_benchmarks": "benchmarks", "genie_contracts": "tests.contracts"}
    folders = {re.sub(r"^\w+", lambda top: elsewhere.get(top[0], top[0]), name) for name in listed}
    assert folders == on_disk


def test_every_file_that_is_no_python_is_listed():
    text = (ROOT / "pyproject.toml").read_text()
    section = text.partition("[tool.setuptools.package-data]")[2].partition("\n\n")[0]
    listed = {
        (package, suffix)
        for package, patterns in re.findall(r'^"?([\w.]+)"? = \[(.*)\]$', section, re.MULTILINE)
        for suffix in re.findall(r'"\*?([^"]+)"', patterns)
    }
    built = {".py", ".pyc", ".so"}
    for path in (
        file for part in ("core", "plugins") for file in ROOT.glob(f"genie_{part}/**/*.*")
    ):
        package = ".".join(path.relative_to(ROOT).parts[:-1])
        known = {(package, path.suffix), (package, path.name)} & listed
        assert path.suffix in built or known, path


def test_test_requirements_cover_the_dependencies():
    def names(lines):
        return {re.match(r"[\w.-]+", line)[0] for line in lines if re.match(r"\w", line)}

    wanted = importlib.metadata.requires("genie-remote")
    wanted = [line for line in wanted if "extra ==" not in line or "extra == 'test'" in line]
    wanted = [line for line in wanted if 'extra == "demo"' not in line]
    listed = names((ROOT / "tests" / "requirements.txt").read_text().splitlines())
    assert names(wanted) - {"torch"} <= listed


def test_only_one_header_and_one_python_file_depend_on_torchs_version():
    """Everything that differs between releases of torch is in one place a language."""
    native = [p for p in (ROOT / "native" / "core").iterdir() if "GENIE_TORCH " in p.read_text()]
    assert {path.name for path in native} <= {"compat.h"}


def arities(members):
    """Names of a stub's functions, with how many arguments each takes."""
    functions = [node for node in members if isinstance(node, ast.FunctionDef)]
    return {f.name: len(f.args.posonlyargs + f.args.args) for f in functions}


def test_the_stub_of_the_native_module_tells_the_truth():
    from genie_core import _native

    stub = ast.parse((ROOT / "genie_core" / "_native.pyi").read_text()).body
    classes = {node.name: node for node in stub if isinstance(node, ast.ClassDef)}
    typing_only = {"BuildInfo", "Counters", "Host"}
    functions = arities(stub)
    real = {name for name in dir(_native) if not name.startswith("_")}
    assert set(functions) | set(classes) - typing_only == real
    for name, count in functions.items():
        signature = getattr(_native, name).__doc__.partition("->")[0]
        assert len(re.findall(r"\w+: ", signature)) == count, signature
    for name in set(classes) - typing_only - {"ReplayError"}:
        members = set(vars(getattr(_native, name)))
        told = set(arities(classes[name].body)) - {"__buffer__"}
        assert told - {"__init__"} == {m for m in members if not m.startswith("_")}, name


def test_the_core_imports_no_plugin_and_no_plugin_another():
    upward = re.compile(r"^\s*(?:from|import) genie_plugins", re.MULTILINE)
    for path in (ROOT / "genie_core").rglob("*.py"):
        assert not upward.search(path.read_text()), path
    for path in (ROOT / "genie_plugins").rglob("*.py"):
        own = path.relative_to(ROOT / "genie_plugins").parts[0]
        for name in re.findall(r"^\s*(?:from|import) genie_plugins\.(\w+)", path.read_text(), re.M):
            assert name == own, path
