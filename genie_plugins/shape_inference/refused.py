"""Calls that a kernel refuses by their shapes or dtypes, and its meta kernel does not.

The executor is asked, so that it raises at the call rather than at a later read.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from genie_core.graph import parameters

if TYPE_CHECKING:
    from genie_core._native import OpCall


def _other_rank(given: dict[str, Any]) -> bool:
    return bool(given["source"].dim() != given["self"].dim())


def _other_mask(given: dict[str, Any]) -> bool:
    return bool(given["mask"].dtype != torch.bool)


def _other_extrema(given: dict[str, Any]) -> bool:
    return {given["min"].dtype, given["max"].dtype} != {given["self"].dtype}


def _other_parts(given: dict[str, Any]) -> bool:
    real, out = given["real"].dtype, given.get("out")
    return real != given["imag"].dtype or (out is not None and out.dtype != real.to_complex())


def _other_draw(given: dict[str, Any]) -> bool:
    weights, count, out = given["self"], given["num_samples"], given.get("out")
    most = sys.maxsize if given.get("replacement") else sum(weights.shape[-1:])
    if not weights.is_floating_point() or weights.shape[-1:] > (1 << 24,) or not 0 < count <= most:
        return True
    return out is not None and out.dtype != torch.int64


_RULES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "aten::aminmax.out": _other_extrema,
    "aten::as_strided_scatter": lambda given: True,  # noqa: ARG005 - rare, and its bounds intricate
    "aten::bucketize.Tensor": lambda given: bool(given["boundaries"].dim() != 1),
    "aten::complex": _other_parts,
    "aten::complex.out": _other_parts,
    "aten::index_add": _other_rank,
    "aten::index_add_": _other_rank,
    "aten::masked_scatter": _other_mask,
    "aten::masked_scatter_": _other_mask,
    "aten::multinomial": _other_draw,
    "aten::multinomial.out": _other_draw,
}


def is_refused(call: OpCall) -> bool:
    """Whether the kernel may well raise."""
    rule = _RULES.get(call.name)
    if rule is None:
        return False
    args, kwargs = call.arguments()
    names = (name for name, _, _ in parameters(call.name))
    return rule(dict(zip(names, args, strict=False)) | kwargs)
