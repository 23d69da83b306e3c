"""The ways to use an operator: forward, backward, with `out=`, in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from conformance import exclusions
from conformance.samples import arguments, call, tensors_in

Place = torch.device | str


class NothingToDo(Exception):
    """The sample has no part in this way: nothing is differentiable, or no `out=` fits."""


@attrs.frozen
class Way:
    """`run` uses the op at a place; what it returns there must equal what it returns on the CPU."""

    name: str
    applies: Callable[[Any, torch.dtype], bool]
    run: Callable[[Any, Any, Place], Any]
    grad: Callable[[Any, torch.dtype], bool] = lambda op, dtype: False


def _forward(op: Any, sample: Any, place: Place) -> Any:
    return call(op, sample, place)


def output_gradients(outputs: list[torch.Tensor], place: Place) -> list[torch.Tensor]:
    """A gradient for each output: the same random numbers at every place."""
    torch.manual_seed(2)
    return [torch.randn(out.shape, dtype=out.dtype).to(place) for out in outputs]


def _gradients(outputs: Any, inputs: list[torch.Tensor], place: Place) -> Any:
    leaves = differentiable(tensors_in(outputs))
    if not leaves or not inputs:
        raise NothingToDo
    given = output_gradients(leaves, place)
    return torch.autograd.grad(leaves, inputs, given, allow_unused=True)


def differentiable(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Those whose gradient is asked for."""
    return [tensor for tensor in tensors if tensor.requires_grad]


def _backward(op: Any, sample: Any, place: Place) -> Any:
    inputs = differentiable(arguments(sample))
    if not inputs:
        raise NothingToDo
    result = call(op, sample, place)
    asked = [(tensor.requires_grad, tensor.is_leaf) for tensor in tensors_in(result)]
    grads = _gradients(sample.output_process_fn_grad(result), inputs, place)
    return {"result": result, "requires_grad": asked, "gradients": grads}


def _out(op: Any, sample: Any, place: Place) -> Any:
    result = call(op, sample, place)
    like = tensors_in(result)
    if not like or any(tensor.layout != torch.strided for tensor in like):
        raise NothingToDo
    found = {}
    own = torch.empty_like if op.name in exclusions.NO_STRIDED_OUT else _turned
    for kind, make in (("own strides", own), ("resized", _nothing)):
        outs = [make(tensor) for tensor in like]
        given = outs[0] if isinstance(result, torch.Tensor) else tuple(outs)
        back = tensors_in(call(op, sample, place, out=given))  # a few give nothing back
        found[kind] = outs, [any(one is out for out in outs) for one in back]
    return found


def _turned(like: torch.Tensor) -> torch.Tensor:
    # Of the right size, with strides that the op must keep.
    turned = torch.empty(like.shape[::-1], dtype=like.dtype, device=like.device)
    return turned.fill_(1).permute(list(range(like.dim()))[::-1])


def _nothing(like: torch.Tensor) -> torch.Tensor:
    return torch.empty(0, dtype=like.dtype, device=like.device)


def _inplace(op: Any, sample: Any, place: Place) -> Any:
    if sample.broadcasts_input or not isinstance(sample.input, torch.Tensor):
        raise NothingToDo
    inputs = differentiable(arguments(sample))
    sample.input = whole = sample.input.clone()
    result = call(op.get_inplace(), sample, place)
    found = {"result": result, "input": whole, "same": result is whole}
    if inputs and whole.requires_grad:
        found["gradients"] = _gradients(sample.output_process_fn_grad(result), inputs, place)
    return found


def _differentiates(op: Any, dtype: torch.dtype) -> bool:
    return bool(op.supports_autograd) and dtype in op.supported_backward_dtypes("cpu")


def _differentiates_inplace(op: Any, dtype: torch.dtype) -> bool:
    return bool(op.supports_inplace_autograd) and _differentiates(op, dtype)


def _has_inplace(op: Any) -> bool:
    return op.get_inplace() is not None


WAYS = [
    Way("forward", lambda op, dtype: True, _forward),
    Way("backward", _differentiates, _backward, _differentiates),
    Way("out", lambda op, dtype: bool(op.supports_out), _out),
    Way("inplace", lambda op, dtype: _has_inplace(op), _inplace, _differentiates_inplace),
]
