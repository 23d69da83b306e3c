"""Asks the executor what an op gives for operands like these, while nothing can be flushed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from genie_core import _native
from genie_core.dispatcher import dispatcher
from genie_core.values import TensorSpec

if TYPE_CHECKING:
    from genie_core._native import OpCall


class _Unknown(Exception):
    """There is no word for this argument."""


def rehearse(call: OpCall) -> list[TensorSpec] | None:
    """The outputs' specs by a run on zeros; None where that is not possible."""
    args, kwargs = call.arguments()
    try:
        words = [_word(arg) for arg in args], {key: _word(arg) for key, arg in kwargs.items()}
    except _Unknown:
        return None
    found = dispatcher.session(call.device).rehearse(call.name, *words)
    return [
        TensorSpec(_native.dtype_of(dtype), tuple(size), tuple(stride), offset)
        for dtype, size, stride, offset in found
    ]


def _word(arg: Any) -> Any:
    """An argument as `protocol.Rehearse` has it."""
    if isinstance(arg, torch.Tensor):
        return {"tensor": [_native.dtype_code(arg.dtype), list(arg.shape), list(arg.stride())]}
    if isinstance(arg, torch.dtype):
        return {"dtype": _native.dtype_code(arg)}
    if isinstance(arg, torch.device):
        return {"device": 0}
    if isinstance(arg, list | tuple):
        return [_word(item) for item in arg]
    if arg is None or isinstance(arg, bool | int | float | str):
        return arg
    raise _Unknown
