"""Runs failing tests on the plain CPU, without the exemptions that TorchCTS grants it."""

from __future__ import annotations

import pathlib
import re
import shutil
from typing import TYPE_CHECKING

import suite

if TYPE_CHECKING:
    from report import Result

_EXEMPTION = re.compile(r"if (torch\.device\(device\)\.type|device) == \"cpu\"( and .*)?:")


def on_the_cpu(failing: list[Result], folder: pathlib.Path) -> dict[str, bool]:
    """Whether each of the failing tests fails on the CPU as well, of those that it can run."""
    shutil.rmtree(folder, ignore_errors=True)
    outcome: dict[str, bool] = {}
    for template in sorted({result.template for result in failing}):
        names = sorted({r.name for r in failing if r.template == template})
        outcome |= _run(folder / template, template, names)
    return outcome


def _run(folder: pathlib.Path, template: str, names: list[str]) -> dict[str, bool]:
    _copy_without_exemptions(folder)
    found = suite.run(template, "cpu", folder, [f"torchcts/{name}" for name in names], folder)
    ran = {name: entry for name, entry in found.items() if entry.status != "SKIP"}
    return {name.rpartition("torchcts/")[2]: entry.failed for name, entry in ran.items()}


def _copy_without_exemptions(folder: pathlib.Path) -> None:
    shutil.copytree(suite.package(), folder / "torchcts")
    for path in (folder / "torchcts").rglob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(_EXEMPTION.sub("if False:", text), encoding="utf-8")
