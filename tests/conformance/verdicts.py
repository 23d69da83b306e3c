"""What is examined, and what came of it."""

from __future__ import annotations

from collections.abc import Callable

import attrs

# Called with a way and the number of a sample before that sample runs.
At = Callable[[str, int], object]


@attrs.frozen
class Case:
    """An entry of a database (`kind` says which: "op" or "module") and the name of a dtype."""

    kind: str
    index: int
    name: str
    dtype: str
    device: str
    max_samples: int = 0


@attrs.frozen
class Verdict:
    """What became of a case in one way, such as forward or backward.

    `status` is passed, failed, crashed, hung, excluded (the CPU itself cannot run any sample) or
    not run; `reason` is that of the first failure, or of the exclusion. `loose` samples passed by a
    tolerance, for the CPU's own bits differ from run to run.
    """

    kind: str
    name: str
    dtype: str
    way: str
    status: str
    samples: int = 0
    failed: int = 0
    excluded: int = 0
    loose: int = 0
    reason: str = ""


def verdict_of(case: Case, way: str, status: str, reason: str, samples: int = 0) -> Verdict:
    """A verdict about a case as a whole."""
    failed = 1 if status in ("failed", "crashed", "hung") else 0
    return Verdict(case.kind, case.name, case.dtype, way, status, samples, failed, reason=reason)


def said(error: BaseException) -> str:
    """The kind of `error` and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
