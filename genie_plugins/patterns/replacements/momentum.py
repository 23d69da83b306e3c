"""SGD's updates with momentum, for tensors one by one or as lists, as PyTorch's fused kernel.

Without momentum one op a tensor is what there is to do: no kernel does it faster.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from genie_core import Match, Pattern, compat
from genie_plugins.patterns.replacements.recorded import number
from genie_plugins.patterns.replacements.singles import Single, Singles, varying
from genie_plugins.patterns.replacements.updates import Update, gradient, grouped

T = torch.Tensor


def _fused(
    params: list[T],
    grads: list[T],
    buffers: list[T],
    size: T | float,
    numbers: tuple[float, float, float],
) -> None:
    """`size` is -lr, which a schedule may vary; `numbers` momentum, dampening, weight decay."""
    momentum, dampening, weight_decay = numbers
    torch._fused_sgd_(
        params,
        grads,
        buffers,
        weight_decay=weight_decay,
        momentum=momentum,
        lr=-size,
        dampening=dampening,
        nesterov=False,
        maximize=False,
        is_first_step=False,
    )


_HERE = compat.has_kernel("aten::_fused_sgd_.tensor_lr", "CPU")
PATTERN = Pattern("sgd", (), tuple, replacement=_fused if _HERE else None, tolerance=1e-5)


def read(match: Match) -> Iterator[Match]:
    """A match for each group of parameters with the same numbers."""
    return grouped(match, PATTERN, "add_", _update)


def _update(ops: Singles, last: Single) -> Update | None:
    """The update that ends with `last`, read back from there."""
    if len(last.args) != 3:
        return None
    param, buffer, size = last.args
    buffered = ops.writing(buffer)
    if [one.name for one in buffered] != ["mul_", "add_"] or ops.writing(param) != [last]:
        return None
    multiplied, added = buffered
    grad, decay, before = gradient(ops, added.args[1], param)
    every = (*before, *buffered, last)
    momentum, kept = number(multiplied.args[1]), number(added.args[2])
    step = varying(size) or number(size)
    if momentum is None or kept is None or step is None or not ops.in_order(every):
        return None
    tensors = {"params": param, "grads": grad, "buffers": buffer}
    told = {"size": step, "numbers": (float(momentum), 1.0 - kept, decay)}
    return Update(tensors, told, every)
