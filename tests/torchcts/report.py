"""What TorchCTS found, from the results that it keeps, as a page."""

from __future__ import annotations

import pathlib
import re
from collections import Counter

import attrs


@attrs.frozen
class Result:
    """A test that was executed."""

    template: str
    part: str
    name: str  # operators/test_misc.py::test_x[dtype0]
    status: str
    message: str

    @property
    def failed(self) -> bool:
        """Whether it failed, crashed or hung."""
        return self.status != "PASS"


def load(template: str, part: str, folder: pathlib.Path) -> list[Result]:
    """The executed tests of one part; none if it was not run."""
    from torchcts.core.result_artifacts import load_result_artifact

    found = []
    for path in (folder / "results").glob("*_latest.json"):
        for name, result in load_result_artifact(path)["results"].items():
            short = name.rpartition("torchcts/")[2]
            message = str(result.get("error_message") or result.get("error_type") or "")
            found.append(Result(template, part, short, result["status"], message))
    return [result for result in found if result.status != "SKIP"]


def pass_rate(found: list[Result]) -> float:
    """The share of the executed tests that pass."""
    return sum(not result.failed for result in found) / max(1, len(found))


def as_markdown(found: list[Result], alike: set[str]) -> str:
    """The page; `alike` are the tests that fail on the plain CPU, too."""
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
        *_counts(found, alike),
    ]
    if failing:
        lines += ["", "## What fails", "", *_EXEMPTIONS, "", "| test | the plain CPU | it says |"]
        lines += ["|---|---|---|", *(_row(result, alike) for result in failing)]
    return "\n".join([*lines, ""])


_EXEMPTIONS = (
    "TorchCTS lets the CPU off some of its tests, by name. “fails too” is said of a test that,",
    "without that exemption, fails on `--device cpu`: the executor's kernel is PyTorch's own.",
)


def _counts(found: list[Result], alike: set[str]) -> list[str]:
    executed = Counter((r.template, r.part) for r in found)
    failed = Counter((r.template, r.part) for r in found if r.failed)
    same = Counter((r.template, r.part) for r in found if r.failed and r.name in alike)
    return [
        f"| {template} | {part} | {count} | {count - failed[template, part]}"
        f" | {failed[template, part]} | {same[template, part]} |"
        for (template, part), count in executed.items()
    ]


def _row(result: Result, alike: set[str]) -> str:
    verdict = "fails too" if result.name in alike else "passes"
    return f"| `{result.name}` | {verdict} | {_tidy(result.message)} |"


def _tidy(message: str) -> str:
    """The first words of a message, without addresses, paths and what breaks a table."""
    message = message.partition("\n  File ")[0]
    message = re.sub(r"0x[0-9a-f]+", "0x…", message)
    message = re.sub(r"(?<![\w.])/[\w.@+-]+(/[\w.@+-]+)+(:\d+)?", "…", message)
    message = re.sub(r"\s+", " ", message).replace("|", "\\|").strip()
    return message if len(message) <= 140 else message[:139] + "…"
