"""Runs an op on zeros, to see what its results look like."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree

from genie_core import _native, protocol
from genie_core.graph import operator


def rehearse(asked: protocol.Rehearse, device: str) -> list[tuple[int, list[int], list[int], int]]:
    """Dtype, sizes, strides and offset of each tensor that the op gives.

    Raises `ValueError` for an op of neither PyTorch nor Genie, and what the op itself raises.
    """
    if not asked.op.startswith(("aten::", "genie::")) or asked.op.startswith("aten::from_file"):
        raise ValueError(f"{asked.op} is not rehearsed")
    args = [_argument(word, device) for word in asked.args]
    kwargs = {key: _argument(word, device) for key, word in asked.kwargs.items()}
    with torch.no_grad():
        results = pytree.tree_leaves(operator(asked.op)(*args, **kwargs))
    if not all(isinstance(result, torch.Tensor) for result in results):
        raise ValueError(f"{asked.op} does not give tensors alone")
    return [
        (_native.dtype_code(r.dtype), list(r.shape), list(r.stride()), r.storage_offset())
        for r in results
    ]


def _argument(word: Any, device: str) -> Any:
    if isinstance(word, list):
        return [_argument(item, device) for item in word]
    if not isinstance(word, dict):
        return word
    if "dtype" in word:
        return _native.dtype_of(word["dtype"])
    if "device" in word:
        return torch.device(device)
    dtype, size, stride = word["tensor"]
    made = torch.empty_strided(size, stride, dtype=_native.dtype_of(dtype), device=device)
    return made.zero_()
