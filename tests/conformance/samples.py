"""Copies of a sample's tensors, on the CPU and on a device, and calls with them."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_flatten

# Tensor arguments that must stay on the CPU, on every device.
_HOST_ARGUMENTS = {"tensor_split"}


def tensors_in(*values: Any) -> list[torch.Tensor]:
    """The tensors of a nested structure, in order."""
    leaves, _ = tree_flatten(values)
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def copy(value: Any, device: torch.device | str = "cpu") -> Any:
    """A tensor's copy on `device`: its strides, its offset, what it is a view of, its gradient."""
    if not isinstance(value, torch.Tensor):
        return value
    return _copied(value.detach(), device).requires_grad_(value.requires_grad)


def _copied(value: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    if value.layout != torch.strided or value.is_quantized or value.is_conj() or value.is_neg():
        return value.to(device, copy=True)
    places = value.untyped_storage().nbytes() // value.element_size()
    if value.is_contiguous() and places == value.numel():
        return value.to(device, copy=True)
    whole = torch.as_strided(value, (places,), (1,), 0)
    return whole.to(device, copy=True).as_strided(
        value.shape, value.stride(), value.storage_offset()
    )


def on(op: Any, sample: Any, device: torch.device | str, *, grad: bool = False) -> Any:
    """A copy of `sample` whose tensors are on `device`, without gradients unless `grad`."""

    def move(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        # The first argument always moves; which one this is shows by its rank.
        stays = op.name in _HOST_ARGUMENTS and value.dim() < 2 and value.dtype == torch.int64
        return copy(value if grad else value.detach(), "cpu" if stays else device)

    return sample.transform(move)


def arguments(sample: Any) -> list[torch.Tensor]:
    """The sample's tensors, in order."""
    return tensors_in(sample.input, sample.args, sample.kwargs)


def mentions(device: torch.device, sample: Any) -> bool:
    """Whether anything in `sample` says that the result is to be on `device`."""
    there = any(tensor.device.type == device.type for tensor in arguments(sample))
    return there or "device" in sample.kwargs


def call(function: Any, sample: Any, device: torch.device | str, **more: Any) -> Any:
    """`function` of the sample's arguments, with the same random numbers each time."""
    kwargs = {**sample.kwargs, **more}
    if "device" in kwargs:
        kwargs["device"] = device
    # `to` takes its device among the positional arguments.
    args = [device if _is_device(arg) else arg for arg in sample.args]
    torch.manual_seed(1)
    return function(sample.input, *args, **kwargs)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value == "cpu")
