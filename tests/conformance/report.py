"""Sums the verdicts up, by entry and by dtype and way, and as JSON for programs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import attrs
from conformance.cases import DTYPES

if TYPE_CHECKING:
    from conformance.verdicts import Verdict

BAD = ("crashed", "hung", "failed", "not run")


@attrs.frozen
class Entry:
    """One entry of a database, with its verdicts in every dtype and way that it has."""

    kind: str
    name: str
    verdicts: list[Verdict]

    @property
    def status(self) -> str:
        """The worst status of its verdicts; "excluded" if there is nothing to run."""
        found = {verdict.status for verdict in self.verdicts}
        return next((s for s in (*BAD, "passed") if s in found), "excluded")


def tidy(reason: str) -> str:
    """`reason` without addresses, paths and line ends, and not too long for a table."""
    reason = re.sub(r"0x[0-9a-f]+", "0x…", reason)
    reason = re.sub(r"(?<![\w.])/[\w.@+-]+(/[\w.@+-]+)+(:\d+)?", "…", reason)
    reason = re.sub(r"inproc\S*|tcp://\S+", "the executor", reason)
    reason = re.sub(r"\s+", " ", reason).replace("|", "\\|")
    return reason if len(reason) <= 160 else reason[:159] + "…"


def entries(kind: str, names: Iterable[str], verdicts: Iterable[Verdict]) -> list[Entry]:
    """The entries of `kind` called `names`, each with its verdicts."""
    found: dict[str, list[Verdict]] = {name: [] for name in names}
    for verdict in verdicts:
        if verdict.kind == kind and verdict.name in found:
            found[verdict.name].append(verdict)
    return [Entry(kind, name, sorted(found[name], key=_place)) for name in sorted(found)]


def _place(verdict: Verdict) -> tuple[int, str]:
    return list(DTYPES).index(verdict.dtype), verdict.way


def pass_rate(found: list[Entry]) -> float:
    """The share of the entries that can be run here which pass with all their samples."""
    runnable = [entry for entry in found if entry.status != "excluded"]
    return sum(entry.status == "passed" for entry in runnable) / max(1, len(runnable))


def counts(found: list[Entry]) -> dict[str, int]:
    """How many entries have each status."""
    number = Counter(entry.status for entry in found)
    return {status: number[status] for status in ("passed", *BAD, "excluded") if number[status]}


def samples(found: list[Entry]) -> tuple[int, int]:
    """How many samples passed, of how many that could be run."""
    verdicts = [verdict for entry in found for verdict in entry.verdicts]
    run = sum(verdict.samples - verdict.excluded for verdict in verdicts)
    return run - sum(verdict.failed for verdict in verdicts), run


def by_dtype_and_way(found: list[Entry]) -> dict[tuple[str, str], tuple[int, int]]:
    """Entries that passed, of those that could be run, for each dtype and way."""
    passed: Counter[tuple[str, str]] = Counter()
    run: Counter[tuple[str, str]] = Counter()
    for verdict in (verdict for entry in found for verdict in entry.verdicts):
        run[verdict.dtype, verdict.way] += verdict.status != "excluded"
        passed[verdict.dtype, verdict.way] += verdict.status == "passed"
    return {key: (passed[key], run[key]) for key in run}


def as_json(databases: dict[str, list[Entry]], torch_version: str) -> str:
    """Everything, as JSON."""
    found = {
        kind: {
            "entries": len(members),
            "pass_rate": pass_rate(members),
            **counts(members),
            "verdicts": [attrs.asdict(v) for entry in members for v in entry.verdicts],
        }
        for kind, members in databases.items()
    }
    return json.dumps({"torch": torch_version, **found}, indent=1)
