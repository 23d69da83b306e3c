"""Runs failing tests on the plain CPU, without the exemptions that TorchCTS grants it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from report import Result

_EXEMPTION = re.compile(r"if (torch\.device\(device\)\.type|device) == \"cpu\"( and .*)?:")


def fail_on_the_cpu(failing: list[Result], folder: pathlib.Path) -> set[str]:
    """Those of the failing tests that fail on the CPU as well, by name."""
    if not failing:
        return set()
    _copy_without_exemptions(folder)
    alike: set[str] = set()
    for template in sorted({result.template for result in failing}):
        names = sorted({r.name for r in failing if r.template == template})
        alike |= _run(folder, template, names)
    return alike


def _copy_without_exemptions(folder: pathlib.Path) -> None:
    from run import package

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(package(), folder / "torchcts")
    for path in (folder / "torchcts").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(_EXEMPTION.sub("if False:", text), encoding="utf-8")


def _run(folder: pathlib.Path, template: str, names: list[str]) -> set[str]:
    from run import OPTIONS

    manifest = folder / "torchcts" / "templates" / f"manifest.{template}.py"
    shutil.copy(manifest, folder / "manifest.py")
    junit = folder / f"{template}.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--device", "cpu", *OPTIONS[template]]
    command += ["--non-interactive", "--results-dir", str(folder / "results"), "--tb=no"]
    command += ["-p", "no:cacheprovider", f"--junitxml={junit}", f"--rootdir={folder}"]
    command += [f"torchcts/{name}" for name in names]
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": path})
    return _failed(junit) if junit.exists() else set()


def _failed(junit: pathlib.Path) -> set[str]:
    found = set()
    for case in ET.parse(junit).iter("testcase"):
        if case.find("failure") is None and case.find("error") is None:
            continue
        module = case.get("classname", "").partition("torchcts.")[2].replace(".", "/")
        found.add(f"{module}.py::{case.get('name')}")
    return found
