"""Compares two results to the bit: values, dtypes, sizes, strides, layout, place."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_flatten


def difference(
    want: Any,
    got: Any,
    device: str | None = None,
    *,
    values: bool = True,
    loosely: bool = False,
) -> str:
    """What differs first between the CPU's result and the device's; "" if nothing does.

    `device` is the type of device that tensors of `got` must be on (None: any). Without `values`
    only metadata is compared; `loosely` allows values torch's own tolerance for the dtype.
    """
    wanted, wanted_shape = tree_flatten(want)
    found, found_shape = tree_flatten(got)
    if wanted_shape != found_shape or len(wanted) != len(found):
        return f"structure: {found_shape}, not {wanted_shape}"
    for left, right in zip(wanted, found, strict=True):
        problem = _leaf(left, right, device, values=values, loosely=loosely)
        if problem:
            return problem
    return ""


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two dense CPU tensors of one dtype and size hold the same bits, any NaN being NaN."""
    if left.is_complex():
        left, right = (torch.view_as_real(part.resolve_conj()) for part in (left, right))
    left, right = _flat(left), _flat(right)
    if left.numel() == 0:
        return True
    same = left.view(torch.uint8) == right.view(torch.uint8)
    if bool(same.all()) or not left.is_floating_point():
        return bool(same.all())
    same = same.view(left.numel(), -1).all(1)
    return bool((same | (left.isnan() & right.isnan())).all())


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    # `contiguous` keeps odd strides where a dimension has one place, and `view` refuses those.
    return tensor.clone(memory_format=torch.contiguous_format).view(-1)


def _leaf(want: Any, got: Any, device: str | None, *, values: bool, loosely: bool) -> str:
    if not isinstance(want, torch.Tensor) or not isinstance(got, torch.Tensor):
        return _plain(want, got)
    problem = _metadata(want, got, device)
    if problem or not values:
        return problem
    problem = _values(want, got.cpu())
    return "" if loosely and _close(want, got.cpu()) else problem


def _close(want: torch.Tensor, got: torch.Tensor) -> bool:
    try:
        torch.testing.assert_close(got.detach(), want.detach(), equal_nan=True)
    except AssertionError:
        return False
    return True


def _plain(want: Any, got: Any) -> str:
    both_nan = want != want and got != got  # only NaN differs from itself
    if type(want) is type(got) and (want == got or both_nan):
        return ""
    return f"value: {got!r}, not {want!r}"


def _metadata(want: torch.Tensor, got: torch.Tensor, device: str | None) -> str:
    if device is not None and got.device.type != device:
        return f"device: the result is on {got.device.type}"
    for name in ("dtype", "layout", "shape"):
        left, right = getattr(want, name), getattr(got, name)
        if left != right:
            return f"{name}: {right}, not {left}"
    if want.layout != torch.strided or _strides(want) == _strides(got):
        return ""
    return f"stride: {got.stride()}, not {want.stride()} of size {tuple(want.shape)}"


def _strides(tensor: torch.Tensor) -> list[int]:
    # Where a dimension has one place, or the tensor none, a stride says nothing.
    if tensor.numel() == 0:
        return []
    return [stride for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


def _values(want: torch.Tensor, got: torch.Tensor) -> str:
    if want.layout != torch.strided:
        want, got = want.to_dense(), got.to_dense()
    if want.is_quantized:
        want, got = want.int_repr(), got.int_repr()
    want, got = want.detach().resolve_neg(), got.detach().resolve_neg()
    if same_bits(want, got):
        return ""
    if want.dtype == torch.bool or not want.numel():
        return "value: differs"
    wide = torch.complex128 if want.is_complex() else torch.float64
    worst = (want.to(wide) - got.to(wide)).abs().nan_to_num(nan=float("inf")).max()
    return f"value: differs by up to {float(worst):.2g}"
