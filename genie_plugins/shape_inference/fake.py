"""Shape inference under FakeTensor: for ops whose shapes come from a decomposition."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map

from genie_core.graph import operator
from genie_core.values import TensorSpec

if TYPE_CHECKING:
    from genie_core._native import OpCall


def infer_fake(call: OpCall) -> Any:
    """Specs of the outputs, or None where only the executor knows (or the op writes)."""
    op = operator(call.name)
    if op._schema.is_mutable or not _gives_tensors(op):
        return None
    args, kwargs = call.arguments()
    try:
        with _silence(), FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
            result = op(*tree_map(_twin, args), **tree_map(_twin, kwargs))
    except Exception:  # data-dependent, not implemented, or the user's mistake: the executor knows
        return None
    outputs = list(result) if isinstance(result, list | tuple) else [result]
    if not all(isinstance(out, torch.Tensor) for out in outputs):
        return None
    if any(out.dim() > 1 and out.numel() == 0 for out in outputs):
        return call.ask_once()  # its strides are as arbitrary as the kernel
    return [TensorSpec(out.dtype, tuple(out.shape), tuple(out.stride())) for out in outputs]


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep torch from logging each failure with its stack: eager's own error follows."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _gives_tensors(op: Any) -> bool:
    returns = op._schema.returns
    return bool(returns) and all(str(r.type) == "Tensor" for r in returns)


def _twin(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.device.type == "remote_accelerator":
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)
    if isinstance(value, torch.device):
        return torch.device("cpu")
    return None if isinstance(value, torch.Generator) else value
