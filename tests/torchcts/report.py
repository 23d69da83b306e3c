"""What TorchCTS found, from the results that it keeps, as a page."""

from __future__ import annotations

import pathlib
import re
from collections import Counter

import attrs
import journal
import reasons


@attrs.frozen
class Result:
    """A test that was executed."""

    template: str
    part: str
    name: str  # operators/test_misc.py::test_x[dtype0]
    message: str
    failed: bool


def load(template: str, part: str, folder: pathlib.Path) -> list[Result]:
    """The executed tests of one part; none if it was not run."""
    return [
        Result(template, part, name.rpartition("torchcts/")[2], entry.message, entry.failed)
        for name, entry in journal.read(folder / "journal.jsonl").items()
        if entry.status != "SKIP"
    ]


def pass_rate(found: list[Result]) -> float:
    """The share of the executed tests that pass."""
    return sum(not result.failed for result in found) / max(1, len(found))


def as_markdown(found: list[Result], on_cpu: dict[str, bool]) -> str:
    """The page; `on_cpu` says of the failing tests which fail on the plain CPU, too."""
    import torch
    import torchcts

    version = torch.__version__.partition("+")[0]
    rate = f"**{pass_rate(found):.2%}** of {len(found):,} executed tests pass."
    failing = sorted((r for r in found if r.failed), key=lambda r: (r.template, r.name))
    lines = [
        "# TorchCTS",
        "",
        "[TorchCTS](https://pypi.org/project/torchcts/) is a conformance suite for PyTorch's",
        "backends. It is run on `remote_accelerator` with an executor on the CPU: the template",
        "`smoke` whole, and `training` at level 2 with one sample. `tox -e torchcts` writes this",
        "page.",
        "",
        f"TorchCTS {torchcts.__version__}, torch {version}: {rate}",
        "",
        "| template | part | executed | pass | fail | of these, fail on the plain CPU too |",
        "|---|---|---|---|---|---|",
        *_counts(found, on_cpu),
    ]
    if failing:
        lines += ["", "## What fails, and why", "", *_EXEMPTIONS, ""]
        lines += ["| why | tests |", "|---|---|", *_whys(failing, on_cpu)]
        lines += ["", "| test | why | it says |"]
        lines += ["|---|---|---|", *(_row(result, on_cpu) for result in failing)]
    return "\n".join([*lines, ""])


_EXEMPTIONS = (
    "TorchCTS lets the CPU off some of its tests, by name. “the CPU’s kernel” is said of a test",
    "that, without that exemption, fails on `--device cpu`, too.",
)


def _counts(found: list[Result], on_cpu: dict[str, bool]) -> list[str]:
    executed = Counter((r.template, r.part) for r in found)
    failed = Counter((r.template, r.part) for r in found if r.failed)
    same = Counter((r.template, r.part) for r in found if r.failed and on_cpu.get(r.name))
    return [
        f"| {template} | {part} | {count} | {count - failed[template, part]}"
        f" | {failed[template, part]} | {same[template, part]} |"
        for (template, part), count in executed.items()
    ]


def _whys(failing: list[Result], on_cpu: dict[str, bool]) -> list[str]:
    counted = Counter(reasons.why(r.name, r.message, on_cpu) for r in failing)
    return [f"| {why} | {count} |" for why, count in counted.most_common()]


def _row(result: Result, on_cpu: dict[str, bool]) -> str:
    why = reasons.why(result.name, result.message, on_cpu)
    return f"| `{result.name}` | {why} | {_tidy(result.message)} |"


def _tidy(message: str) -> str:
    """The first words of a message, without addresses, paths and what breaks a table."""
    message = message.partition("\n  File ")[0]
    message = re.sub(r"0x[0-9a-f]+", "0x…", message)
    message = re.sub(r"(?<![\w.])/[\w.@+-]+(/[\w.@+-]+)+(:\d+)?", "…", message)
    message = re.sub(r"\s+", " ", message).replace("|", "\\|").strip()
    return message if len(message) <= 140 else message[:139] + "…"
