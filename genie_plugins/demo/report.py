"""What the demo measured, and the table that shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import attrs
from rich.table import Table

import genie_core

if TYPE_CHECKING:
    import torch

T = TypeVar("T")


@attrs.frozen
class Outcome:
    """One piece of work, done on the device and on the local CPU. Times are in seconds."""

    name: str
    accuracy: float | None
    same_bits: str
    problems: tuple[str, ...]
    stats: genie_core.Stats | None
    device_s: float
    local_s: float


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What `work` returns, and the seconds it took."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def measured(
    device: torch.device, work: Callable[[], T]
) -> tuple[T, float, genie_core.Stats | None]:
    """As `timed`, with what the device counted meanwhile (nothing on a local CPU)."""
    if device.type == "cpu":
        return *timed(work), None
    genie_core.reset_stats()
    result, seconds = timed(work)
    return result, seconds, genie_core.stats(device)


def table(device: torch.device, outcomes: list[Outcome]) -> Table:
    """A column for each outcome, a row for each figure."""
    result = Table(title=f"{device} against the local CPU", title_justify="left")
    result.add_column("")
    for outcome in outcomes:
        result.add_column(outcome.name, justify="right")
    for label, figure in _FIGURES.items():
        cells = [figure(outcome) for outcome in outcomes]
        if any(cells):
            result.add_row(label, *(cell or "–" for cell in cells))
    return result


def _accuracy(outcome: Outcome) -> str:
    return "" if outcome.accuracy is None else f"{outcome.accuracy:.2%}"


def _counter(show: Callable[[genie_core.Stats], str]) -> Callable[[Outcome], str]:
    return lambda outcome: "" if outcome.stats is None else show(outcome.stats)


def _kilobytes(count: int) -> str:
    return f"{count / 1000:,.1f} KB"


_FIGURES: dict[str, Callable[[Outcome], str]] = {
    "test accuracy": _accuracy,
    "same bits as the CPU": lambda o: o.same_bits,
    "ops recorded": _counter(lambda s: f"{s.ops:,}"),
    "programs sent": _counter(lambda s: f"{s.programs_built:,}"),
    "programs reused": _counter(lambda s: f"{s.program_hits:,}"),
    "round trips": _counter(lambda s: f"{s.round_trips:,}"),
    "sent": _counter(lambda s: _kilobytes(s.bytes_up)),
    "received": _counter(lambda s: _kilobytes(s.bytes_down)),
    "time, device": lambda o: f"{o.device_s:.2f} s",
    "time, local CPU": lambda o: f"{o.local_s:.2f} s",
    "device / local": lambda o: f"{o.device_s / o.local_s:.2f}×",
}
