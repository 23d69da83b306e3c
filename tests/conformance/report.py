"""Writes the verdicts as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable

import attrs
from conformance.cases import DTYPES, Verdict

_BAD = ("crashed", "hung", "failed", "not run")


@attrs.frozen
class Entry:
    """One entry of the database, with a verdict for each dtype that it has."""

    name: str
    verdicts: dict[str, Verdict]

    @property
    def status(self) -> str:
        """The worst status of its dtypes; "excluded" if there is none to run."""
        found = {verdict.status for verdict in self.verdicts.values()}
        return next((s for s in (*_BAD, "passed") if s in found), "excluded")

    @property
    def reason(self) -> str:
        """The first reason that there is, for the table: nothing in it depends on the machine."""
        first = next((v.reason for v in self.verdicts.values() if v.reason), "")
        return tidy(first or "neither float32 nor int64 on the CPU")


def tidy(reason: str) -> str:
    """`reason` without addresses, paths and line ends, and not too long for a table."""
    reason = re.sub(r"0x[0-9a-f]+", "0x…", reason)
    reason = re.sub(r"(?<![\w.])/[\w.@+-]+(/[\w.@+-]+)+(:\d+)?", "…", reason)
    reason = re.sub(r"inproc\S*|tcp://\S+", "the executor", reason)
    reason = re.sub(r"\s+", " ", reason).replace("|", "\\|")
    return reason if len(reason) <= 160 else reason[:159] + "…"


def entries(names: Iterable[str], verdicts: Iterable[Verdict]) -> list[Entry]:
    """The entries called `names`, each with its verdicts."""
    found: dict[str, dict[str, Verdict]] = {name: {} for name in names}
    for verdict in verdicts:
        found[verdict.name][verdict.dtype] = verdict
    ordered = {name: {d: v[d] for d in DTYPES if d in v} for name, v in found.items()}
    return [Entry(name, of_name) for name, of_name in sorted(ordered.items())]


def pass_rate(found: list[Entry]) -> float:
    """The share of the entries that can be run here which pass with all their samples."""
    runnable = [entry for entry in found if entry.status != "excluded"]
    return sum(entry.status == "passed" for entry in runnable) / max(1, len(runnable))


def as_json(found: list[Entry], torch_version: str) -> str:
    """Everything, as JSON."""
    rows = [attrs.asdict(verdict) for entry in found for verdict in entry.verdicts.values()]
    summary = {"entries": len(found), "pass_rate": pass_rate(found), **_counts(found)}
    return json.dumps({"torch": torch_version, "summary": summary, "cases": rows}, indent=1)


def as_markdown(found: list[Entry], torch_version: str) -> str:
    """The page of the documentation."""
    counts = _counts(found)
    samples = [v for entry in found for v in entry.verdicts.values()]
    run = sum(v.samples - v.excluded for v in samples)
    failed = sum(v.failed for v in samples)
    version = torch_version.partition("+")[0]
    summary = (
        f"torch {version}: **{pass_rate(found):.1%}** of the entries that the CPU can run pass;"
        f" {run - failed:,} of {run:,} samples."
    )
    lines = [
        "# Conformance",
        "",
        "Every entry of PyTorch's own OpInfo database, run on `remote_accelerator` and on the CPU:",
        "all samples of float32 and int64, forward. A sample passes when dtypes, sizes, strides",
        "and every bit are the CPU's. `tox -e conformance` writes this page.",
        "",
        summary,
        "",
        "| | entries |",
        "|---|---|",
        *(f"| {status} | {count} |" for status, count in counts.items()),
        f"| all | {len(found)} |",
    ]
    lines += _causes(found)
    for status in (*_BAD, "excluded"):
        lines += _details(status, [entry for entry in found if entry.status == status])
    passed = ", ".join(f"`{entry.name}`" for entry in found if entry.status == "passed")
    return "\n".join([*lines, "", "## passed", "", passed, ""])


def _counts(found: list[Entry]) -> dict[str, int]:
    counts = Counter(entry.status for entry in found)
    return {status: counts[status] for status in ("passed", *_BAD, "excluded") if counts[status]}


def _causes(found: list[Entry]) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for entry in found:
        if entry.status in _BAD:
            groups[f"{entry.status}: {_kind(entry.reason)}"].append(f"`{entry.name}`")
    if not groups:
        return []
    rows = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    table = [f"| {kind} | {len(names)} | {', '.join(names)} |" for kind, names in rows]
    return ["", "## What fails, by cause", "", "| cause | entries | |", "|---|---|---|", *table]


def _kind(reason: str) -> str:
    # Numbers and names differ from op to op where the cause is one.
    return re.sub(r"'[^']*'|\S*::\S*|-?\d[\d.,e+-]*", "…", reason)[:80]


def _details(status: str, chosen: list[Entry]) -> list[str]:
    if not chosen:
        return []
    head = ["", f"## {status}", "", f"| op | {' | '.join(DTYPES)} | reason |", "|---|---|---|---|"]
    return head + [
        f"| `{e.name}` | {' | '.join(_cell(e.verdicts.get(d)) for d in DTYPES)} | {e.reason} |"
        for e in chosen
    ]


def _cell(verdict: Verdict | None) -> str:
    if verdict is None:
        return "–"
    if verdict.status == "failed":
        return f"{verdict.failed} of {verdict.samples - verdict.excluded} fail"
    return verdict.status
