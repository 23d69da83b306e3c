"""`while_loop`, `scan` and `map` on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from genie_core.compat import NAME
from genie_core.errors import CaptureError
from genie_plugins.control_flow.recording import Recording, Region, device_of

Tensor = torch.Tensor
Function = Callable[..., Any]


def is_ours(values: Sequence[Any]) -> bool:
    """Whether all of it is tensors of the device, as what is carried has to be."""
    return all(isinstance(value, Tensor) and value.device.type == NAME for value in values)


def while_loop(
    cond_fn: Function, body_fn: Function, carried: Sequence[Tensor], more: Sequence[Any]
) -> tuple[Tensor, ...]:
    """Record condition and body; the executor repeats them."""
    initial = [tensor.clone(memory_format=torch.contiguous_format) for tensor in carried]
    with Recording(device_of(carried)) as recording:
        condition = recording.region(_condition(cond_fn, more), initial)
        body = recording.region(lambda *given: body_fn(*given, *more), initial)
        check_carried("while_loop", body, initial)
        args = [initial, condition, body, 0]
        return tuple(recording.call("genie::while_loop", args, initial))


def stacked_while_loop(
    cond_fn: Function, body_fn: Function, carried: Sequence[Tensor], more: Sequence[Any]
) -> tuple[Tensor, ...]:
    """The same, for what each iteration gives, stacked; waits, for nobody knows how many."""
    initial = [tensor.clone(memory_format=torch.contiguous_format) for tensor in carried]
    verdict = _condition(cond_fn, more)
    with Recording(device_of(carried)) as recording:
        condition = recording.region(lambda *given: (verdict(*given), *given), initial)
        body = recording.region(lambda *given: body_fn(*given, *more), initial)
        check_carried("while_loop", body, initial)
        return tuple(recording.ask("genie::while_loop", [initial, condition, body, 1]))


def _condition(cond_fn: Function, more: Sequence[Any]) -> Function:
    def verdict(*given: Tensor) -> Tensor:
        found: Tensor | bool = cond_fn(*given, *more)
        if isinstance(found, bool):
            return torch.full((), found, device=given[0].device)
        if found.numel() != 1 or found.dtype != torch.bool:
            raise RuntimeError(f"cond_fn must return a boolean scalar tensor but got {found.shape}")
        return found

    return verdict


def check_carried(op: str, body: Region, initial: Sequence[Tensor]) -> None:
    """Raise `CaptureError` unless the body gives tensors like those that it gets."""
    given = [(t.dtype, tuple(t.shape)) for t in initial]
    found = [(t.dtype, tuple(t.shape)) for t in body.tensors[: len(initial)]]
    if found != given or len(body.results) < len(initial):
        raise CaptureError(op, f"its body gets {given} and gives {found}: let both be the same")


def scan(
    combine_fn: Function, init: Sequence[Tensor], xs: Sequence[Tensor], more: Sequence[Any]
) -> tuple[Any, ...]:
    """Record one step, which the executor repeats for each row of `xs`."""
    carried, rows = repeat("scan", combine_fn, init, xs, more)
    return (*carried, *rows)


def map_rows(function: Function, xs: Sequence[Tensor], more: Sequence[Any]) -> Any:
    """Record the function for one row of `xs`."""
    return repeat("map", function, (), xs, more)[1]


def repeat(
    what: str, step: Function, init: Sequence[Tensor], xs: Sequence[Tensor], more: Sequence[Any]
) -> tuple[list[Tensor], Any]:
    """What is carried in the end, and what the steps gave besides, stacked."""
    count = xs[0].shape[0]
    index = torch.zeros(1, dtype=torch.int64, device=xs[0].device)
    initial = [index, *(t.clone(memory_format=torch.contiguous_format) for t in init)]
    stacks: list[Any] = []
    with Recording(device_of(xs)) as recording:

        def body(i: Tensor, *carried: Tensor) -> Any:
            rows = [x.index_select(0, i).squeeze(0) for x in xs]
            results = step(*carried, *rows, *more)
            after = results if not init else results[len(init) :]
            flat, structure = pytree.tree_flatten(after)
            stacks[:] = [_stack(recording, i, count, value) for value in flat]
            stacks.append(structure)
            return (i + 1, *(results[: len(init)] if init else ()))

        region = recording.region(body, initial)
        check_carried(what, region, initial)
        _, *carried = recording.call("genie::repeat", [what, count, initial, region], initial)
    *values, structure = stacks
    return carried, pytree.tree_unflatten(values, structure)


def _stack(recording: Recording, index: Tensor, count: int, value: Any) -> Any:
    """Room for each step's `value`, where this step writes its own."""
    if not isinstance(value, Tensor):
        return value
    room = recording.hoisted((count, *value.shape), value)
    room.index_copy_(0, index, value.unsqueeze(0))
    return room
