"""Writes the page of the documentation: what fails or is left out, and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from conformance.cases import DTYPES
from conformance.report import BAD, Entry, by_dtype_and_way, counts, pass_rate, samples, tidy

if TYPE_CHECKING:
    from conformance.verdicts import Verdict

_WAYS = ("forward", "backward", "out", "inplace")
_TITLES = {"op": "Operators", "module": "Modules"}
_INTRODUCTION = """# Conformance

PyTorch's own databases, run on `remote_accelerator` and on the CPU: every entry of OpInfo forward,
backward, with `out=` (strides of its own; empty, to be resized) and in place, and every entry of
ModuleInfo forward and backward, in training and in evaluation mode. A sample passes when values to
the bit, dtypes, sizes, strides, `requires_grad`, gradients and arguments that are written to are
the CPU's. `tox -e conformance` writes this page; `--dtype float32` and `--only REGEX` run parts.

`linalg.lu`, `lu_unpack`, `tril` and `triu` get no `out=` with strides of its own: the CPU's kernels
write past it and crash. Transformer encoders have `enable_nested_tensor=False` on both sides: the
device has no nested tensors, and takes the path of padded ones.
"""


def as_markdown(
    databases: dict[str, list[Entry]],
    torch_version: str,
    *,
    max_samples: int = 0,
    elsewhere: Iterable[str] = (),
) -> str:
    """The page; `elsewhere` names pages about other kinds of conformance."""
    version = torch_version.partition("+")[0]
    lines = [_INTRODUCTION]
    if max_samples:
        lines += [f"At most {max_samples} samples of an entry in a dtype, spread over all.\n"]
    links = ", ".join(f"[{page.removesuffix('.md')}]({page})" for page in elsewhere)
    lines += [f"Other kinds: {links}.\n"] if links else []
    for kind, found in databases.items():
        if found:
            lines += _section(_TITLES[kind], found, version)
    return "\n".join(lines)


def _section(title: str, found: list[Entry], version: str) -> list[str]:
    good, run = samples(found)
    summary = (
        f"torch {version}: **{pass_rate(found):.1%}** of the entries that the CPU can run pass"
        f" every sample; {good:,} of {run:,} samples."
    )
    totals = ", ".join(f"{count} {status}" for status, count in counts(found).items())
    lines = [f"## {title}", "", summary, "", f"Entries: {totals}.", "", *_matrix(found)]
    lines += _causes(found)
    bad = [v for entry in found for v in entry.verdicts if v.status in BAD]
    lines += _rows("Fails", bad)
    lines += _excluded(found)
    lines += _loose(found)
    passed = ", ".join(f"`{entry.name}`" for entry in found if entry.status == "passed")
    return [*lines, "", "### Passed", "", passed, ""]


def _matrix(found: list[Entry]) -> list[str]:
    cells = by_dtype_and_way(found)
    ways = [way for way in _WAYS if any(key[1] == way for key in cells)]
    rows = [
        f"| {dtype} | {' | '.join(_cell(cells.get((dtype, way))) for way in ways)} |"
        for dtype in DTYPES
        if any(key[0] == dtype for key in cells)
    ]
    return [f"| entries that pass | {' | '.join(ways)} |", "|---" * (len(ways) + 1) + "|", *rows]


def _cell(number: tuple[int, int] | None) -> str:
    return f"{number[0]} of {number[1]}" if number and number[1] else "–"


def _causes(found: list[Entry]) -> list[str]:
    groups: dict[str, set[str]] = defaultdict(set)
    for entry in found:
        for verdict in entry.verdicts:
            if verdict.status in BAD:
                groups[f"{verdict.status}: {_kind(tidy(verdict.reason))}"].add(f"`{entry.name}`")
    if not groups:
        return []
    rows = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    table = [f"| {kind} | {len(names)} | {', '.join(sorted(names))} |" for kind, names in rows]
    return ["", "### Fails, by cause", "", "| cause | entries | |", "|---|---|---|", *table]


def _kind(reason: str) -> str:
    # Numbers and names differ from op to op where the cause is one.
    return re.sub(r"'[^']*'|\S*::\S*|-?\d[\d.,e+-]*", "…", reason)[:80]


def _rows(title: str, verdicts: list[Verdict]) -> list[str]:
    groups: dict[tuple[str, str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        groups[verdict.name, verdict.way, tidy(verdict.reason)].append(verdict)
    if not groups:
        return []
    table = [
        f"| `{name}` | {way} | {', '.join(map(_extent, members))} | {reason} |"
        for (name, way, reason), members in sorted(groups.items())
    ]
    head = ["| entry | way | dtypes | reason |", "|---|---|---|---|"]
    return ["", f"### {title}", "", *head, *table]


def _extent(verdict: Verdict) -> str:
    if verdict.status != "failed":
        return f"{verdict.dtype} ({verdict.status})"
    return f"{verdict.dtype} ({verdict.failed} of {verdict.samples - verdict.excluded})"


def _excluded(found: list[Entry]) -> list[str]:
    """What the CPU itself cannot run, by reason, with the dtypes and ways that this is about."""
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in found:
        if not entry.verdicts:
            groups["no dtype of these on the CPU"].append(f"`{entry.name}`")
        by_reason: dict[str, list[str]] = defaultdict(list)
        for verdict in entry.verdicts:
            if verdict.status == "excluded":
                by_reason[_general(verdict.reason)].append(f"{verdict.dtype} {verdict.way}")
        for reason, members in by_reason.items():
            groups[reason].append(f"`{entry.name}` ({', '.join(members)})")
    if not groups:
        return []
    table = [f"| {reason} | {', '.join(members)} |" for reason, members in sorted(groups.items())]
    return ["", "### Excluded", "", "| reason | entries |", "|---|---|", *table]


def _general(reason: str) -> str:
    # Which kernel and which dtype it is that the CPU does not have is said beside it.
    return tidy(re.sub(r"\"[^\"]*\" not implemented for .*", "not implemented", reason))


def _loose(found: list[Entry]) -> list[str]:
    loose = [
        f"`{entry.name}` ({', '.join(parts)})"
        for entry in found
        if (parts := [f"{v.dtype} {v.way}" for v in entry.verdicts if v.loose])
    ]
    if not loose:
        return []
    text = "The CPU's own bits differ from run to run; compared with torch's tolerances:"
    return ["", "### Not repeatable", "", f"{text} {', '.join(loose)}."]
