"""`torch.cond` on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from genie_core.compat import NAME
from genie_core.errors import CaptureError
from genie_plugins.control_flow.recording import Recording, Region, device_of

Tensor = torch.Tensor


def cond(
    pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], operands: Sequence[Any]
) -> Any:
    """Record both branches; the executor runs one of them, as the predicate says there."""
    if not isinstance(pred, Tensor) or pred.device.type != NAME:
        return (true_fn if pred else false_fn)(*operands)
    flag = pred if pred.dtype is torch.bool and pred.storage_offset() == 0 else pred.ne(0)
    with Recording(device_of([pred])) as recording:
        yes = recording.region(lambda: true_fn(*operands))
        no = recording.region(lambda: false_fn(*operands))
        _check(yes, no)
        return yes.fill(recording.call("genie::cond", [flag, yes, no], yes.tensors))


def _check(yes: Region, no: Region) -> None:
    ours, theirs = ([_kind(value) for value in branch.results] for branch in (yes, no))
    if ours != theirs:
        reason = f"its branches give {ours} and {theirs}: let both give the same"
        raise CaptureError("torch.cond", reason)


def _kind(value: Any) -> Any:
    """What has to be the same of both branches' results."""
    return (value.dtype, tuple(value.shape)) if isinstance(value, Tensor) else value
