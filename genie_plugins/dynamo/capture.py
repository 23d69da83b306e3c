"""Records a graph once, alone in its device's trace, and keeps the program that comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch

from genie_core import _native
from genie_core.dispatcher import dispatcher

REASON = "compiled"
_TENSOR = object()
_WAITS = _ASKS = False

Recorded = tuple["_native.Sealed | None", tuple[Any, "_native.Prepared | None"]]
"""What is to be sent; then the outputs, and the program if it can be bound anew."""


@attrs.frozen
class Run:
    """A prepared program, for inputs that lie like those that it was recorded with.

    `numbers` are the inputs that are no tensors; `outputs` stand for all that are none.
    """

    prepared: _native.Prepared
    numbers: tuple[Any, ...]
    outputs: tuple[Any, ...]
    only_tensors: bool

    def fill(self, tensors: list[torch.Tensor]) -> list[Any]:
        """The graph's outputs, of which these are the tensors."""
        if self.only_tensors:
            return tensors
        left = iter(tensors)
        return [next(left) if one is _TENSOR else one for one in self.outputs]


def submit(known: Run, tensors: list[torch.Tensor]) -> list[Any]:
    """Send a prepared program for these inputs; returns the graph's outputs."""
    session = dispatcher.session(tensors[0].device.index)
    return known.fill(session.submit(lambda: run(known.prepared, tensors), REASON))


def run(
    prepared: _native.Prepared, tensors: list[torch.Tensor]
) -> tuple[_native.Sealed, list[torch.Tensor]]:
    """Bind a program to inputs that fit; for `Session.submit`."""
    device = tensors[0].device.index
    if _native.materialize(tensors, device):
        dispatcher.session(device).flush(REASON)
    return prepared.run(tensors)


def capture(
    graph: Callable[..., Any],
    given: list[Any],
    tensors: list[torch.Tensor],
    written: list[int] | None,
) -> tuple[Any, Run | None]:
    """Run `graph` by recording it; returns its outputs, and how to run it again if that can be.

    tensors: those among `given`, and further ones that the graph holds; all on one device.
    written: which of `given` it writes to; None stands for any.
    """
    session = dispatcher.session(tensors[0].device.index)
    outputs, prepared = session.submit(lambda: record(graph, given, tensors, written), REASON)
    if prepared is None:
        return outputs, None
    numbers = tuple(one for one in given if not isinstance(one, torch.Tensor))
    kinds = tuple(_TENSOR if isinstance(one, torch.Tensor) else one for one in outputs)
    return outputs, Run(prepared, numbers, kinds, all(kind is _TENSOR for kind in kinds))


def record(
    graph: Callable[..., Any],
    given: list[Any],
    tensors: list[torch.Tensor],
    written: list[int] | None,
) -> Recorded:
    """Record what `graph` does, and nothing else; for `Session.submit`."""
    device = tensors[0].device.index
    session = dispatcher.session(device)
    _native.materialize(tensors, device)
    while (held := _native.reserve_trace(device)) is None:
        session.flush(REASON)
    try:
        outputs = graph(*given)
        return _seal(held, tensors, outputs, _positions(given, tensors, written))
    finally:
        held.release()


def _positions(
    given: list[Any], tensors: list[torch.Tensor], written: list[int] | None
) -> list[int]:
    """Which of `tensors` are written to."""
    if written is None:
        return list(range(len(tensors)))
    places = [place for place, one in enumerate(given) if isinstance(one, torch.Tensor)]
    return [position for position, place in enumerate(places) if place in written]


def _seal(
    held: _native.Reservation, tensors: list[torch.Tensor], outputs: Any, written: list[int]
) -> Recorded:
    results = [one for one in outputs if isinstance(one, torch.Tensor)]
    prepared = None
    if all(one.device == tensors[0].device for one in results):
        prepared = _native.prepare(held, tensors, results, written)
    sealed = _native.seal(tensors[0].device.index, _WAITS, _ASKS)
    if prepared is not None and sealed is not None:
        prepared.take(sealed)
    return sealed, (outputs, prepared)
