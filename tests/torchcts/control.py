"""Runs failing tests on the plain CPU, without the exemptions that TorchCTS grants it."""

from __future__ import annotations

import pathlib
import re
import shutil
from typing import TYPE_CHECKING

import suite

if TYPE_CHECKING:
    from report import Result

_CPU = r"(torch\.device\(device\)\.type|device) {} \"cpu\""
_EXEMPT = re.compile(r"if (.* and )?" + _CPU.format("==") + r"( and .*)?:")
_HELD = re.compile(r"if " + _CPU.format("!=") + ":")


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
    tests = [folder / "torchcts" / name for names in suite.PARTS.values() for name in names]
    for path in (path for name in tests for path in name.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        text = _HELD.sub("if True:", _EXEMPT.sub("if False:", text))
        path.write_text(text, encoding="utf-8")
