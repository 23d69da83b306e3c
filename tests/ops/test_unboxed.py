"""Ops of common C++ signatures take no stack once they are known, and give the CPU's result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from genie_core import _native

Make = Callable[..., torch.Tensor]
# At least one for each C++ signature that native/kernels/unboxed.cpp lists.
CALLS: dict[str, Callable[[Make], Any]] = {
    "relu": lambda t: t(2, 3).relu(),
    "mm": lambda t: t(2, 3).mm(t(3, 2)),
    "where": lambda t: torch.where(t(2, 3) > 0, t(2, 3), t(2, 3)),
    "mul by a number": lambda t: t(2, 3) * 2,
    "eq": lambda t: t(2, 3) == 1.5,
    "add a number": lambda t: t(2, 3) + 1,
    "add a complex number": lambda t: t(2, 3) + 1j,
    "sub a 0-dim CPU tensor": lambda t: t(2, 3) - torch.tensor(2.0),
    "add scaled": lambda t: torch.add(t(2, 3), t(2, 3), alpha=3),
    "threshold_backward": lambda t: torch.ops.aten.threshold_backward(t(2, 3), t(2, 3), 0),
    "addcmul": lambda t: torch.addcmul(t(2), t(2), t(2), value=2),
    "addmm": lambda t: torch.addmm(t(2), t(3, 2), t(2, 2), beta=2),
    "sum": lambda t: t(2, 3).sum(dtype=torch.float64),
    "gelu": lambda t: functional.gelu(t(2, 3), approximate="tanh"),
    "clone": lambda t: t(2, 3).t().clone(memory_format=torch.contiguous_format),
    "zero_": lambda t: t(2, 3).zero_(),
    "mul_": lambda t: t(2, 3).mul_(t(3)),
    "add_": lambda t: t(2, 3).add_(t(3), alpha=2),
    "div_ by a number": lambda t: t(2, 3).div_(4),
    "addcdiv_": lambda t: t(2).addcdiv_(t(2), t(2).abs_().add_(1), value=0.5),
    "addmm_": lambda t: t(3, 2).addmm_(t(3, 2), t(2, 2), alpha=0.5),
    "mean": lambda t: t(2, 3, 4).mean((0, 2), keepdim=True),
    "amax": lambda t: t(2, 3).amax((0,)),
    "softmax": lambda t: t(2, 3).softmax(-1),
    "argmax": lambda t: t(2, 3).argmax(1),
    "max": lambda t: t(2, 3).max(0),
    "cumsum": lambda t: t(2, 3).cumsum(1, dtype=torch.float64),
    "cat": lambda t: torch.cat([t(2, 3), t(1, 3)], 0),
    "layer_norm": lambda t: torch.native_layer_norm(t(2, 3), (3,), t(3), None, 1e-5),
    "embedding": lambda t: torch.embedding(t(4, 3), t(2, 2).argmax(1)),
    "conv2d": lambda t: torch.convolution(
        t(1, 2, 5, 5), t(3, 2, 3, 3), t(3), [1, 1], [1, 1], [1, 1], False, [0, 0], 1
    ),
    "batch_norm": lambda t: torch.native_batch_norm(
        t(4, 3), t(3), t(3), None, None, True, 0.1, 1e-5
    ),
    "nll_loss": lambda t: torch.ops.aten.nll_loss_forward(
        t(2, 3), t(2, 3).argmax(1), None, 1, -100
    ),
}  # fmt: skip


def maker(device: torch.device) -> Make:
    torch.manual_seed(0)
    return lambda *size: torch.randn(size).to(device)


@pytest.mark.parametrize("name", CALLS)
def test_known_op_takes_no_stack_and_gives_the_cpu_s_result(
    name: str, device: torch.device
) -> None:
    call = CALLS[name]
    expected = call(maker(torch.device("cpu")))
    first = call(maker(device))
    before = _native.boxed_ops(device.index or 0)
    second = call(maker(device))
    boxed = _native.boxed_ops(device.index or 0) - before
    assert boxed == 0
    for result in (first, second):
        torch.testing.assert_close(
            torch.utils._pytree.tree_map(lambda part: part.cpu(), result), expected, rtol=0, atol=0
        )
