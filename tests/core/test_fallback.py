"""Ops that the executor lacks: by decomposition, else on the client's CPU, and never silently."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch

import genie_core
from genie_core.errors import OpRaised
from genie_core.values import FallbackCall
from genie_plugins.fallback import run


@pytest.fixture(scope="module")
def ours() -> Iterator[Any]:
    """Ops that exist in this process only."""
    library = torch.library.Library("genie_ours", "DEF")
    for schema in (
        "twice(Tensor x, *, Tensor? other=None) -> Tensor",
        "store(Tensor x, *, Tensor(a!) out) -> Tensor(a!)",
        "widen_(Tensor(a!) x, int n) -> Tensor(a!)",
        "fill_all(Tensor(a!)[] xs, Tensor y) -> ()",
        "same(Tensor x) -> Tensor",
        "stats(Tensor x) -> (Tensor, float, int[], bool)",
        "picky(Tensor x, int kind) -> Tensor",
        "shifted(Tensor x, Device device) -> Tensor",
    ):
        library.define(schema)

    def fill_all(xs: list[torch.Tensor], y: torch.Tensor) -> None:
        for x in xs:
            x.copy_(y)

    def picky(x: torch.Tensor, kind: int) -> torch.Tensor:
        raise (ValueError, IndexError, NotImplementedError, ZeroDivisionError)[kind]("picky")

    def same(x: torch.Tensor) -> torch.Tensor:
        return x

    def shifted(x: torch.Tensor, device: torch.device) -> torch.Tensor:
        assert device.type == "cpu"
        return x + 1

    library.impl("twice", lambda x, *, other=None: x * 2 if other is None else x * other, "CPU")
    library.impl("store", lambda x, *, out: out.resize_(x.shape).copy_(x + 1), "CPU")
    library.impl("widen_", lambda x, n: x.resize_(n).fill_(n), "CPU")
    library.impl("fill_all", fill_all, "CPU")
    library.impl("same", same, "CPU")
    library.impl("stats", lambda x: (x.sum(), float(x.max()), list(x.shape), True), "CPU")
    library.impl("picky", picky, "CPU")
    library.impl("shifted", shifted, "CPU")
    yield torch.ops.genie_ours
    library._destroy() if hasattr(library, "_destroy") else None


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    run._told.clear()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*runs by")
        yield


def call(op: Any, *args: Any, **kwargs: Any) -> FallbackCall:
    return FallbackCall(op, args, kwargs, "0", "the executor lacks it", "model.py:7 in forward")


# Through the device -------------------------------------------------------------------------------


def test_values_come_back_to_the_device(ours: Any, remote_device: torch.device) -> None:
    x = torch.arange(3.0, device=remote_device)
    y = ours.twice(x + 1)
    assert y.device == remote_device
    assert (y + x).tolist() == [2.0, 5.0, 8.0]
    assert ours.twice(x, other=x).tolist() == [0.0, 1.0, 4.0]


def test_numbers_and_lists_come_back_as_they_are(ours: Any, remote_device: torch.device) -> None:
    total, largest, shape, flag = ours.stats(torch.arange(4.0, device=remote_device))
    assert total.device == remote_device
    assert (total.item(), largest, shape, flag) == (6.0, 3.0, [4], True)


def test_what_the_op_writes_is_written(ours: Any, remote_device: torch.device) -> None:
    base = torch.zeros(2, 3, device=remote_device)
    out = torch.empty(0, device=remote_device)
    assert ours.store(base[1] + 4, out=out) is out
    assert out.tolist() == [5.0, 5.0, 5.0]
    grown = torch.zeros(1, device=remote_device)
    assert ours.widen_(grown, 3) is grown
    assert grown.tolist() == [3.0, 3.0, 3.0]
    ours.fill_all([base[0], base.t()[0]], torch.full((), 7.0, device=remote_device))
    assert base.tolist() == [[7.0, 7.0, 7.0], [7.0, 0.0, 0.0]]


def test_an_argument_that_is_returned_stays_itself(ours: Any, remote_device: torch.device) -> None:
    x = torch.ones(2, device=remote_device)
    found = ours.same(x)
    assert found.device == remote_device
    assert found.tolist() == [1.0, 1.0]


def test_a_device_argument_is_the_cpu_there(ours: Any, remote_device: torch.device) -> None:
    x = torch.ones(2, device=remote_device)
    assert ours.shifted(x, remote_device).tolist() == [2.0, 2.0]


def test_gradients_flow_around(ours: Any, remote_device: torch.device) -> None:
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return ours.twice(x)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return ours.twice(grad)

    x = torch.ones(2, device=remote_device, requires_grad=True)
    (Twice.apply(x) * 3).sum().backward()
    assert x.grad.tolist() == [6.0, 6.0]


@pytest.mark.parametrize(
    ("kind", "error"),
    list(enumerate([ValueError, IndexError, NotImplementedError, ZeroDivisionError])),
)
def test_the_ops_own_errors_come_as_they_are(
    ours: Any, remote_device: torch.device, kind: int, error: type[Exception]
) -> None:
    x = torch.ones(2, device=remote_device)
    with pytest.raises(error, match="picky"):
        ours.picky(x, kind)
    assert x.sum().item() == 2.0


def test_what_failed_on_the_executor_before_is_reported(
    ours: Any, remote_device: torch.device
) -> None:
    bad = torch.ones(2, device=remote_device)[torch.tensor([5], device=remote_device)]
    with pytest.raises(genie_core.GenieError, match="aten::index"):
        ours.twice(bad)


def test_it_is_said_once_with_op_way_reason_and_place(
    ours: Any, remote_device: torch.device
) -> None:
    x = torch.ones(2, device=remote_device)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            ours.twice(x)
    (said,) = [str(w.message) for w in caught if "genie_ours.twice" in str(w.message)]
    for part in ("the client's CPU", "no kernel for it", "tcp://", f"{__file__}:"):
        assert part in said


DEFINED_ANEW = """
    import torch
    x = torch.ones(2, device="remote_accelerator")
    for i in range(40):
        library = torch.library.Library(f"again{i}", "DEF")
        if i % 2:
            library.define("a(Tensor x, Tensor y, int n, int m) -> Tensor")
            library.impl("a", lambda x, y, n, m: x + n + m, "CPU")
            assert getattr(torch.ops, f"again{i}").a(x, x, 1, 2).tolist() == [4.0, 4.0], i
        else:
            library.define("a(Tensor x) -> Tensor")
            library.impl("a", lambda x: x * 7, "CPU")
            assert getattr(torch.ops, f"again{i}").a(x).tolist() == [7.0, 7.0], i
        library._destroy()
    print("done")
"""


def test_an_op_may_go_and_another_take_its_place(device: torch.device) -> None:
    """In a process of its own: the new op's schema often lies where the old one's did."""
    if not hasattr(torch.library.Library, "_destroy"):
        pytest.skip("this torch keeps operators for ever")
    if device.type == "cpu":
        pytest.skip("a rehearsal has no recorder")
    command = [sys.executable, "-c", textwrap.dedent(DEFINED_ANEW)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# The ways, without a device -----------------------------------------------------------------------


def test_a_decomposition_is_preferred_and_runs_on_the_device(device: torch.device) -> None:
    x = torch.tensor([1.0, -2.0], device=device)
    with pytest.warns(UserWarning, match="leaky_relu.* runs by its decomposition.*model.py:7"):
        found = run.run(call(torch.ops.aten.leaky_relu.default, x, 0.5))
    assert found.device == x.device
    assert found.tolist() == [1.0, -1.0]


def test_ops_that_write_are_not_decomposed(device: torch.device) -> None:
    x = torch.tensor([1.0, -2.0], device=device)
    assert run._decomposition(torch.ops.aten.leaky_relu_.default) is None
    found = run.run(call(torch.ops.aten.leaky_relu_.default, x, 0.5))
    assert x.tolist() == [1.0, -1.0]
    if device.type != "cpu":
        assert found is x


def test_lists_of_tensors_and_several_results(device: torch.device) -> None:
    parts = [torch.ones(1, device=device), torch.zeros(2, device=device)]
    found = run._on_cpu(call(torch.ops.aten.cat.default, parts))
    assert (found.device.type, found.tolist()) == (device.type, [1.0, 0.0, 0.0])
    values, indices = run._on_cpu(call(torch.ops.aten.sort.default, found))
    assert values.device.type == indices.device.type == device.type
    assert values.tolist() == [0.0, 0.0, 1.0]


def test_an_error_of_the_op_is_marked_as_the_ops(device: torch.device) -> None:
    x = torch.ones(2, 3, device=device)
    with pytest.raises(OpRaised) as info:
        run.run(call(torch.ops.aten.mm.default, x, x))
    assert "shapes" in str(info.value.error)
