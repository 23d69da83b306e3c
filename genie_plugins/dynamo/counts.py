"""How calls of compiled graphs were run."""

from __future__ import annotations

import threading
from collections import Counter

from genie_core.log import get_logger

_log = get_logger("compile")
_lock = threading.Lock()
_runs: Counter[str] = Counter()


def compiled() -> dict[str, int]:
    """Count calls of compiled graphs in this process.

    "prepared": run without recording; "captured": recorded to be prepared; "tried": the same, which
    failed and is tried again; "recorded: REASON": recorded op by op, each time.
    """
    with _lock:
        return dict(_runs)


def count(way: str) -> None:
    """Note one call; warns of the first one that is recorded for a reason."""
    with _lock:
        _runs[way] += 1
        first = _runs[way] == 1
    if first and way.startswith("recorded"):
        _log.warning("graph.recorded", reason=way.partition(": ")[2], each_call=True)
