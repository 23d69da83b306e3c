"""Runs an op that the executor lacks, and says so once for each op."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

from genie_core.errors import OpRaised
from genie_core.log import get_logger

if TYPE_CHECKING:
    from genie_core.values import FallbackCall

DEVICE = "remote_accelerator"
_log = get_logger("fallback")
_told: set[str] = set()


def run(call: FallbackCall) -> Any:
    """The op's result, with its in-place effects already on the device's tensors."""
    decomposition = _decomposition(call.op)
    try:
        _tell(call, "its decomposition" if decomposition else "the client's CPU")
        if decomposition:
            return decomposition(*call.args, **call.kwargs)
        return _on_cpu(call)
    except Exception as error:
        raise OpRaised(error) from error


def _tell(call: FallbackCall, way: str) -> None:
    name = str(call.op)
    _log.info("fallback", op=name, way=way, reason=call.reason, where=call.where)
    if name not in _told:
        _told.add(name)
        warnings.warn(f"{name} runs by {way}: {call.reason} (first at {call.where})", stacklevel=2)


def _decomposition(op: Any) -> Any:
    if op._schema.is_mutable:
        return None  # torch's decompositions are functional
    from torch._decomp import decomposition_table

    return decomposition_table.get(op)


def _on_cpu(call: FallbackCall) -> Any:
    copies: dict[int, torch.Tensor] = {}  # one for each tensor: in-place results are arguments

    def to_cpu(value: Any) -> Any:
        if isinstance(value, torch.Tensor) and value.device.type == DEVICE:
            return copies.setdefault(id(value), value.cpu())
        return torch.device("cpu") if isinstance(value, torch.device) else value

    args, kwargs = tree_map(to_cpu, call.args), tree_map(to_cpu, call.kwargs)
    result = call.op(*args, **kwargs)
    originals = _write_back(call, copies)
    return tree_map(lambda value: _to_device(value, call, originals), result)


def _write_back(call: FallbackCall, copies: dict[int, torch.Tensor]) -> dict[int, torch.Tensor]:
    """Copy what the op wrote to its arguments; return the originals by their copies' ids."""
    originals: dict[int, torch.Tensor] = {}
    positional = iter(call.args)
    for schema in call.op._schema.arguments:
        value = call.kwargs.get(schema.name) if schema.kwarg_only else next(positional, None)
        written = schema.alias_info is not None and schema.alias_info.is_write
        for tensor in value if isinstance(value, list | tuple) else [value]:
            if isinstance(tensor, torch.Tensor) and id(tensor) in copies:
                copy = copies[id(tensor)]
                originals[id(copy)] = tensor
                if written:
                    tensor.resize_(copy.shape).copy_(copy)
    return originals


def _to_device(value: Any, call: FallbackCall, originals: dict[int, torch.Tensor]) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if id(value) in originals:
        return originals[id(value)]
    return value.to(torch.device(DEVICE, int(call.device)))
