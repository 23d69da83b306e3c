"""The graphs of what a model does, each op with the call that recorded it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from unittest import mock

import torch

import genie_core
from genie_core import _native
from genie_core.dispatcher import REASONS, dispatcher
from genie_plugins.explain.explanation import explain

from .calls import Calls

if TYPE_CHECKING:
    import torch.fx
    from torch import nn


def record(
    model: nn.Module,
    work: Callable[[Calls], object],
    device: torch.device,
    *,
    whole: bool = True,
) -> list[torch.fx.Graph]:
    """The graphs of `work`, which runs the model on `device`.

    Between two reads there is one graph if `whole`, else as many as a trace is cut into for its
    size. It is done twice: the first time, the executor is asked for shapes that nobody can tell,
    which ends a graph each time, and an optimizer makes its state.
    """
    with Calls(model) as calls, _whole() if whole else contextlib.nullcontext():
        work(calls)
        genie_core.synchronize(device)
        _forget(device)
        with explain() as explanation:
            work(calls)
            genie_core.synchronize(device)
    graphs = [program.graph for program in explanation.programs]
    return [graph for graph in graphs if graph is not None]


def _forget(device: torch.device) -> None:
    """Have programs be first sights again: one means what it meant when it was seen first."""
    for program in list(dispatcher.session(device.index or 0)._semantics):
        _native.forget_program(device.index or 0, program)


@contextlib.contextmanager
def _whole() -> Iterator[None]:
    """No flushes for a trace's size: they would cut patterns in two, at places of no meaning."""
    flush = dispatcher.flush

    def flush_for_cause(device: int, reason: int) -> bytes | None:
        return None if REASONS[reason] == "size" else flush(device, reason)

    with mock.patch.object(dispatcher, "flush", flush_for_cause):
        yield
