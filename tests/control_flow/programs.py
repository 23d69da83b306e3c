"""Functions with control flow: the same on the CPU, which is the truth, and on the device."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch


def _of_torch(name: str) -> Callable[..., Any]:
    """An op of this torch's; where it has none, what skips the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = getattr(importlib.import_module("torch._higher_order_ops"), name, None)
    if callable(found):
        return found
    return lambda *args, **kwargs: pytest.skip(f"this torch has no {name}")


associative_scan, map, scan, while_loop = (  # noqa: A001
    _of_torch(name) for name in ("associative_scan", "map", "scan", "while_loop")
)
Tensor = torch.Tensor
CPU = torch.device("cpu")
Case = Callable[[torch.device], Any]


def numbers(*size: int, device: torch.device, seed: int = 0, grad: bool = False) -> Tensor:
    made = torch.randn(size, generator=torch.Generator().manual_seed(seed))
    return made.to(device).requires_grad_(grad)


def branches(d: torch.device) -> Any:
    x = numbers(3, 4, device=d)
    above = torch.cond(x.sum() > 0, lambda a: a.sin(), lambda a: a.cos() + 1, (x,))
    below = torch.cond(x.sum() < 0, lambda a: a.sin(), lambda a: a.cos() + 1, (x,))
    return above, below


def branches_over_closures(d: torch.device) -> Any:
    x, w, b = (numbers(4, 4, device=d, seed=seed) for seed in range(3))
    return torch.cond(
        x[0, 0] > 0, lambda a: (a @ w, b + a), lambda a: (a @ b, (w.t() + a).contiguous()), (x,)
    )


def predicate_of_one_element(d: torch.device) -> Any:
    x = numbers(2, 2, device=d)
    flags = x[:, :1] > x[:, 1:]
    return [torch.cond(flag, lambda a: a + 1, lambda a: a - 1, (x,)) for flag in flags]


def branches_in_branches(d: torch.device) -> Any:
    x = numbers(5, device=d)

    def inner(a: Tensor) -> Tensor:
        return torch.cond(a[1] > 0, lambda b: b * 2, lambda b: b * 3 + x, (a,))

    return torch.cond(x[0] > 0, inner, lambda a: inner(a) - 1, (x,))


def counted_loop(d: torch.device) -> Any:
    start = numbers(3, device=d)
    count = (start[0] * 0).long()
    return while_loop(lambda i, _: i < 7, lambda i, x: (i + 1, x.sin() + 1), (count, start))


def loop_that_data_ends(d: torch.device) -> Any:
    x = numbers(4, device=d).abs() + 1
    return while_loop(lambda a: a.sum() < 1000, lambda a: (a * 1.5,), (x,))


def loop_that_does_not_start(d: torch.device) -> Any:
    x = numbers(4, device=d)
    return while_loop(lambda a: a.sum() > 1e6, lambda a: (a * 2,), (x,))


def loop_over_closures(d: torch.device) -> Any:
    x, w = numbers(3, device=d), numbers(3, 3, device=d, seed=1)
    limit = numbers(1, device=d, seed=2).abs().squeeze() * 50
    return while_loop(
        lambda a: a.abs().sum() < limit + 20, lambda a: (a + (w @ a).tanh() + 1,), (x,)
    )


def loop_with_branches(d: torch.device) -> Any:
    x = numbers(3, device=d)
    zero = (x[0] * 0).long()

    def body(i: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        return i + 1, torch.cond(a.sum() > 0, lambda b: b - 0.7, lambda b: b * 2 + 1, (a,))

    return while_loop(lambda i, _: i < 9, body, (zero, x))


def loop_in_loop(d: torch.device) -> Any:
    x = numbers(3, device=d)
    zero = (x[0] * 0).long()

    def body(i: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        j, b = while_loop(lambda j, _: j < 3, lambda j, b: (j + 1, b.cos()), (zero.clone(), a))
        return i + 1, b + j

    return while_loop(lambda i, _: i < 4, body, (zero, x))


def branch_with_loop(d: torch.device) -> Any:
    x = numbers(3, device=d)

    def looped(a: Tensor) -> Tensor:
        return while_loop(lambda b: b.abs().sum() < 50, lambda b: (b * 2,), (a,))[0]

    return torch.cond(x.sum() > 0, looped, lambda a: -looped(a), (x,))


def running_sums(d: torch.device) -> Any:
    xs = numbers(6, 3, device=d)
    return scan(lambda carry, x: (carry + x, carry * x), numbers(3, device=d, seed=1), xs)


def scan_backwards_over_another_dimension(d: torch.device) -> Any:
    xs = numbers(3, 5, device=d)
    init = numbers(3, device=d, seed=1)
    return scan(lambda carry, x: (carry * x, carry + 1), init, xs, dim=1, reverse=True)


def scan_over_trees(d: torch.device) -> Any:
    xs = {"a": numbers(4, 2, device=d), "b": numbers(4, device=d, seed=1)}
    w = numbers(2, device=d, seed=2)

    def step(carry: Tensor, x: dict[str, Tensor]) -> tuple[Tensor, list[Tensor]]:
        return carry * x["b"] + x["a"] + w, [carry.exp(), x["b"].clone()]

    return scan(step, numbers(2, device=d, seed=3), xs)


def mapped(d: torch.device) -> Any:
    xs, w = numbers(5, 3, device=d), numbers(3, device=d, seed=1)
    return map(lambda x, v: (x * v).sin() + w, xs, w + 1)


def associative(d: torch.device) -> Any:
    xs = numbers(7, 2, device=d)
    return associative_scan(lambda a, b: a * b + a, xs, 0, combine_mode="generic")


FORWARD: tuple[Case, ...] = (
    branches,
    branches_over_closures,
    predicate_of_one_element,
    branches_in_branches,
    counted_loop,
    loop_that_data_ends,
    loop_that_does_not_start,
    loop_over_closures,
    loop_with_branches,
    loop_in_loop,
    branch_with_loop,
    running_sums,
    scan_backwards_over_another_dimension,
    scan_over_trees,
    mapped,
    associative,
)


# With autograd. -----------------------------------------------------------------------------------


def _gradients(loss: Tensor, *leaves: Tensor) -> Any:
    return loss, torch.autograd.grad(loss, leaves, allow_unused=True)


def branch_gradients(d: torch.device) -> Any:
    x, w = (numbers(4, device=d, seed=seed, grad=True) for seed in range(2))
    y = torch.cond(x.sum() > 0, lambda a: (a * w).sin(), lambda a: a.exp() + w, (x,))
    z = torch.cond(x.sum() < 0, lambda a: (a * w).sin(), lambda a: a.exp() + w, (x,))
    return _gradients((y * z).sum(), x, w)


def nested_branch_gradients(d: torch.device) -> Any:
    x, w = (numbers(4, device=d, seed=seed, grad=True) for seed in range(2))

    def inner(a: Tensor) -> Tensor:
        return torch.cond(a[0] > 0, lambda b: b * w, lambda b: b.tanh() + w, (a,))

    y = torch.cond(x[1] > 0, lambda a: inner(a).sin(), lambda a: inner(a * 2), (x,))
    return _gradients(y.sum(), x, w)


def scan_gradients(d: torch.device) -> Any:
    xs, init, w = (
        numbers(*size, device=d, seed=seed, grad=True)
        for seed, size in enumerate(((5, 3), (3,), (3,)))
    )
    last, ys = scan(lambda c, x: ((c * w + x).tanh(), c * x), init, xs)
    return _gradients(last.sum() + (ys * ys).sum(), xs, init, w)


def map_gradients(d: torch.device) -> Any:
    xs, w = numbers(5, 3, device=d, grad=True), numbers(3, device=d, seed=1, grad=True)
    return _gradients(map(lambda x, v: (x * v).sin() + x, xs, w).sum(), xs, w)


def associative_gradients(d: torch.device) -> Any:
    xs = numbers(6, 2, device=d, grad=True)
    ys = associative_scan(lambda a, b: a * b, xs + 1, 0, combine_mode="generic")
    return _gradients(ys.sum(), xs)


GRADIENTS: tuple[Case, ...] = (
    branch_gradients,
    nested_branch_gradients,
    scan_gradients,
    map_gradients,
    associative_gradients,
)


def loop_gradients(d: torch.device) -> Any:
    x = numbers(3, device=d, grad=True)
    w = numbers(3, device=d, seed=1, grad=True)
    y = while_loop(lambda a: a.abs().sum() < 20, lambda a: (a * 1.5 + w.abs(),), (x,))[0]
    return _gradients(y.sum(), x, w)
