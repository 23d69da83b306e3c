"""The 46 operations that a first device must have: forward and backward, to the CPU's bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch.nn import functional

Call = Callable[..., Any]


def normal(*size: int) -> torch.Tensor:
    return torch.randn(size)


def positive(*size: int) -> torch.Tensor:
    return torch.rand(size) + 0.5


def small_ints(*size: int) -> torch.Tensor:
    # Small enough that some pairs are equal.
    return torch.randint(0, 3, size).float()


# name -> the call, and what makes its tensor arguments
DIFFERENTIABLE: dict[str, tuple[Call, Callable[[], list[torch.Tensor]]]] = {
    "add": (lambda a, b: a + b, lambda: [normal(3, 4), normal(4)]),
    "sub": (lambda a, b: torch.sub(a, b, alpha=2), lambda: [normal(3, 4), normal(3, 1)]),
    "mul": (lambda a, b: a * b, lambda: [normal(3, 4), normal(3, 4)]),
    "div": (lambda a, b: a / b, lambda: [normal(3, 4), positive(3, 4)]),
    "pow": (lambda a, b: a**b + a**2, lambda: [positive(3, 4), normal(3, 4)]),
    "matmul": (lambda a, b: a @ b, lambda: [normal(2, 3, 4), normal(4, 5)]),
    "mm": (torch.mm, lambda: [normal(3, 4), normal(4, 5)]),
    "bmm": (torch.bmm, lambda: [normal(2, 3, 4), normal(2, 4, 5)]),
    "addmm": (torch.addmm, lambda: [normal(5), normal(3, 4), normal(4, 5)]),
    "linear": (functional.linear, lambda: [normal(2, 3, 4), normal(5, 4), normal(5)]),
    "relu": (torch.relu, lambda: [normal(3, 4)]),
    "sigmoid": (torch.sigmoid, lambda: [normal(3, 4)]),
    "tanh": (torch.tanh, lambda: [normal(3, 4)]),
    "softmax": (lambda a: torch.softmax(a, -1), lambda: [normal(3, 4)]),
    "log_softmax": (lambda a: torch.log_softmax(a, 0), lambda: [normal(3, 4)]),
    "gelu": (
        lambda a: functional.gelu(a) + functional.gelu(a, approximate="tanh"),
        lambda: [normal(3, 4)],
    ),
    "leaky_relu": (lambda a: functional.leaky_relu(a, 0.1), lambda: [normal(3, 4)]),
    "conv2d": (
        lambda a, w, b: functional.conv2d(a, w, b, stride=2, padding=1),
        lambda: [normal(2, 3, 8, 8), normal(4, 3, 3, 3), normal(4)],
    ),
    "conv1d": (
        lambda a, w, b: functional.conv1d(a, w, b, dilation=2),
        lambda: [normal(2, 3, 9), normal(4, 3, 3), normal(4)],
    ),
    "batch_norm": (
        lambda a, w, b: functional.batch_norm(a, None, None, w, b, training=True),
        lambda: [normal(4, 3, 5), normal(3), normal(3)],
    ),
    "layer_norm": (
        lambda a, w, b: functional.layer_norm(a, (4,), w, b),
        lambda: [normal(3, 4), normal(4), normal(4)],
    ),
    "dropout": (lambda a: functional.dropout(a, 0.4), lambda: [normal(16, 16)]),
    "view": (lambda a: a.view(6, -1) * 2, lambda: [normal(3, 4)]),
    "reshape": (lambda a: a.t().reshape(6, 2), lambda: [normal(3, 4)]),
    "transpose": (lambda a: a.transpose(0, 2), lambda: [normal(2, 3, 4)]),
    "permute": (lambda a: a.permute(2, 0, 1), lambda: [normal(2, 3, 4)]),
    "cat": (lambda a, b: torch.cat([a, b], 1), lambda: [normal(3, 4), normal(3, 2)]),
    "stack": (lambda a, b: torch.stack([a, b], -1), lambda: [normal(3, 4), normal(3, 4)]),
    "split": (lambda a: torch.split(a, [1, 3], 1), lambda: [normal(3, 4)]),
    "squeeze": (lambda a: a.squeeze(1) + a.squeeze()[0], lambda: [normal(3, 1, 4)]),
    "unsqueeze": (lambda a: a.unsqueeze(-2), lambda: [normal(3, 4)]),
    "sum": (lambda a: (a.sum(), a.sum(1, keepdim=True)), lambda: [normal(3, 4)]),
    "mean": (lambda a: (a.mean(), a.mean(0)), lambda: [normal(3, 4)]),
    "max": (
        lambda a, b: (a.max(), *a.max(1), torch.max(a, b)),
        lambda: [normal(3, 4), normal(3, 4)],
    ),
    "min": (
        lambda a, b: (a.min(), *a.min(1), torch.min(a, b)),
        lambda: [normal(3, 4), normal(3, 4)],
    ),
}
COMPARISONS: dict[str, Call] = {
    name: getattr(torch, name) for name in ("eq", "ne", "lt", "gt", "le", "ge")
}
FACTORIES: dict[str, Callable[[torch.device], torch.Tensor]] = {
    "randn": lambda device: torch.randn(5, 7, device=device),
    "zeros": lambda device: torch.zeros(5, 7, device=device),
    "ones": lambda device: torch.ones(5, dtype=torch.int64, device=device),
    "empty": lambda device: torch.empty(5, 7, device=device).fill_(3),
    "full": lambda device: torch.full((5, 7), 2.5, device=device),
}
CPU = torch.device("cpu")


def same(want: Any, got: Any, device: torch.device) -> None:
    assert difference(want, got, device.type) == ""


def forward_and_backward(
    call: Call, arguments: list[torch.Tensor], device: torch.device
) -> tuple[Any, ...]:
    leaves = [argument.detach().to(device).requires_grad_() for argument in arguments]
    torch.manual_seed(1)
    outputs = call(*leaves)
    flat = outputs if isinstance(outputs, tuple) else (outputs,)
    floating = [output for output in flat if output.is_floating_point()]
    # Weights that differ, so that a gradient in the wrong place shows.
    weighted = [(o * torch.arange(1.0, o.numel() + 1).view(o.shape).to(device)) for o in floating]
    sum(part.sum() for part in weighted).backward()
    return flat, [leaf.grad for leaf in leaves]


def test_the_list_is_complete() -> None:
    assert len(DIFFERENTIABLE) + len(COMPARISONS) + len(FACTORIES) == 46


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_forward_and_backward(name: str, device: torch.device) -> None:
    call, make = DIFFERENTIABLE[name]
    torch.manual_seed(0)
    arguments = make()
    want = forward_and_backward(call, arguments, CPU)
    same(want, forward_and_backward(call, arguments, device), device)


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_comparison(name: str, dtype: torch.dtype, device: torch.device) -> None:
    compare = COMPARISONS[name]
    torch.manual_seed(0)
    left, right = small_ints(4, 5).to(dtype), small_ints(5).to(dtype)
    want = compare(left, right), compare(left, 1)
    there, other = left.to(device), right.to(device)
    same(want, (compare(there, other), compare(there, 1)), device)


@pytest.mark.parametrize("name", FACTORIES)
def test_factory(name: str, device: torch.device) -> None:
    results = []
    for where in (CPU, device):
        torch.manual_seed(0)
        results.append(FACTORIES[name](where))
    same(results[0], results[1], device)
