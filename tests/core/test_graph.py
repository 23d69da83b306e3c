"""Programs as `torch.fx` graphs: well formed, with places and literals, with the right values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import torch
import torch.fx

from genie_core import graph as graphs
from genie_core import session
from genie_core.graph import Semantics

CPU = torch.device("cpu")


class OnCpu(torch.fx.Interpreter):
    """Runs a graph on CPU tensors, as the executor runs its program."""

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        def here(value: Any) -> Any:
            return CPU if isinstance(value, torch.device) else value

        args = tuple(here(arg) for arg in args)
        return super().call_function(target, args, {k: here(v) for k, v in kwargs.items()})


@attrs.define
class Graphs:
    """The graphs of the programs that a device defined, each with its lifted values."""

    seen: list[torch.fx.Graph] = attrs.Factory(list)

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What the latest graph gives, its symbols as they were when it was built."""
        graph = self.seen[-1]
        graph.lint()
        values = iter(inputs)
        given = [
            node.meta["example"] if "symbol" in node.meta else lie(next(values), node)
            for node in graph.nodes
            if node.op == "placeholder"
        ]
        module = torch.fx.GraphModule(torch.nn.Module(), graph)
        return OnCpu(module).run(*given)

    @property
    def symbols(self) -> list[torch.fx.Node]:
        return [node for node in self.seen[-1].nodes if "symbol" in node.meta]

    def calls(self) -> list[torch.fx.Node]:
        return [node for node in self.seen[-1].nodes if "op" in node.meta]


def lie(tensor: torch.Tensor, node: torch.fx.Node) -> torch.Tensor:
    """The storage of `tensor` as the placeholder's first use saw it."""
    g = node.meta["geometry"]
    size, stride, offset = (
        torch.fx.node.map_arg(part, lambda number: number.meta["example"])
        for part in (g.size, g.stride, g.offset)
    )
    return graphs.strided_view(tensor, g.dtype, size, stride, offset, g.flags)


@pytest.fixture
def built(flow: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Graphs]:
    found = Graphs()
    encode = session.encode_graph

    def noting(graph: torch.fx.Graph, sealed: Any) -> Any:
        found.seen.append(graph)
        return encode(graph, sealed)

    monkeypatch.setattr(session, "encode_graph", noting)
    return found


def line() -> str:
    """`file:line` of the line after the call."""
    frame = sys._getframe(1)
    return f"{__file__}:{frame.f_lineno + 1}"


def check(flow: Any, built: Graphs, work: Callable[..., Any], *inputs: torch.Tensor) -> None:
    """`work`, its graph and the executor agree."""
    there = [tensor.to(flow.device) for tensor in inputs]
    flow.settle()
    results = work(*there)
    flow.settle()
    expected = work(*[tensor.clone() for tensor in inputs])
    found = built.run(*[tensor.clone() for tensor in inputs])
    assert len(found) == len(results)
    for want, kept, got in zip(expected, found, results, strict=True):
        assert torch.equal(got.cpu(), want)
        view = graphs.strided_view(kept, want.dtype, want.size(), want.stride(), 0, 0)
        assert torch.equal(view, want)


def test_arithmetic(flow: Any, built: Graphs) -> None:
    check(
        flow, built, lambda x, w: [((x @ w).relu() + 1) * 0.5], torch.randn(2, 3), torch.randn(3, 4)
    )


def test_several_outputs_and_lists(flow: Any, built: Graphs) -> None:
    def work(x: torch.Tensor) -> list[torch.Tensor]:
        values, indices = x.max(1)
        return [values + 1, indices * 2, torch.cat([x, x], 1)]

    check(flow, built, work, torch.randn(3, 5))


def test_in_place_ops_through_views(flow: Any, built: Graphs) -> None:
    def work(x: torch.Tensor) -> list[torch.Tensor]:
        y = x * 2
        y[1].add_(5)
        y.t()[0].neg_()
        return [y]

    check(flow, built, work, torch.arange(6.0).view(2, 3))
    views = [n for n in built.seen[-1].nodes if n.target is graphs.strided_view]
    assert len(views) == 2


def test_conjugates_and_dtype_views(flow: Any, built: Graphs) -> None:
    def work(x: torch.Tensor) -> list[torch.Tensor]:
        return [x.conj() * 2, x.conj().imag + 1, torch.view_as_real(x) * 3]

    check(flow, built, work, torch.tensor([1 + 2j, 3 - 1j]))


def test_numbers_of_each_kind(flow: Any, built: Graphs) -> None:
    def work(x: torch.Tensor) -> list[torch.Tensor]:
        y = torch.where(x > 1, x, torch.tensor(0.25, dtype=torch.float64))
        return [
            y.clamp(min=-1, max=True) + torch.tensor(3),
            x.to(torch.float64).sum((0, 1), keepdim=True),
            torch.nn.functional.gelu(x, approximate="tanh"),
            x * (1 + 2j),
            torch.full((2,), 7, device=x.device),
        ]

    check(flow, built, work, torch.randn(2, 3))


def test_memory_that_was_never_written(flow: Any, built: Graphs) -> None:
    def work(x: torch.Tensor) -> list[torch.Tensor]:
        y = torch.empty(4, device=x.device)
        y[:2].copy_(x)
        y[2:].fill_(1)
        y.resize_(6)[4:].zero_()
        return [y]

    check(flow, built, work, torch.tensor([3.0, 4.0]))
    assert {"genie::alloc", "aten::copy_"} <= {node.meta["op"] for node in built.calls()}


def test_random_ops_name_their_generator(flow: Any, built: Graphs) -> None:
    generator = torch.Generator(flow.device).manual_seed(3)
    x = torch.rand(4, device=flow.device, generator=generator) + 1
    assert torch.equal(x.cpu(), torch.rand(4, generator=torch.Generator().manual_seed(3)) + 1)
    (found,) = [built.run()[i] for i in range(2) if isinstance(built.run()[i], torch.Tensor)]
    assert torch.equal(found, x.cpu())


def test_a_state_that_is_put_back(flow: Any, built: Graphs) -> None:
    generator = torch.Generator(flow.device).manual_seed(4)
    state = generator.get_state()
    assert graphs.get_state(torch.Generator().manual_seed(4)).equal(state)
    generator.set_state(state)
    drawn = torch.rand(3, device=flow.device, generator=generator)
    assert torch.equal(drawn.cpu(), torch.rand(3, generator=torch.Generator().manual_seed(4)))
    assert "genie::set_state" in {node.meta["op"] for node in built.calls()}
    twin = torch.Generator()
    graphs.set_state(twin, state.numel(), state)
    assert torch.equal(torch.rand(3, generator=twin), drawn.cpu())


def test_lifted_numbers_are_placeholders(flow: Any, built: Graphs) -> None:
    x = torch.arange(3.0).to(flow.device)
    for rate in (0.5, 0.25, 0.125):
        (x * rate + rate).tolist()
    assert sum(node.op == "placeholder" for node in built.seen[-1].nodes) == 2
    (symbol,) = built.symbols
    assert symbol.op == "placeholder"
    assert {user.target for user in symbol.users} == {graphs.host_scalar}
    for slope in (0.5, 0.25, 0.125):
        torch.nn.functional.leaky_relu(x, slope).tolist()
    (symbol,) = built.symbols
    assert symbol.meta["real"]
    assert {user.meta["op"] for user in symbol.users} == {"aten::leaky_relu"}


def test_lifted_sizes_are_placeholders_and_run(flow: Any, built: Graphs) -> None:
    for length in (3, 5):
        x = torch.arange(float(length)).to(flow.device)
        flow.settle()
        y = torch.cat([x, x[:2]]) * 2
        flow.settle()
    assert sorted(symbol.meta["example"] for symbol in built.symbols) == [5, 7]
    (found,) = built.run(torch.arange(5.0))
    assert torch.equal(found, y.cpu())


def test_places_and_ops(flow: Any, built: Graphs) -> None:
    x = torch.ones(3, 3).to(flow.device)
    layer = torch.nn.Linear(3, 3).to(flow.device)
    flow.settle()
    first = line()
    y = x.exp2()
    second = line()
    y = layer(y)
    y.tolist()
    calls = built.calls()
    assert calls[0].meta["op"] == "aten::exp2"
    assert all(isinstance(node.meta["genie"], Semantics) for node in calls)
    assert calls[0].meta["genie"].origin.startswith(first)
    assert all(node.meta["genie"].origin.startswith(second) for node in calls[1:])
    assert calls[1].meta["genie"].where.endswith("in test_places_and_ops (Linear)")
    assert "in test_places_and_ops" in calls[0].meta["genie"].origin


def test_a_backward_pass_says_so(flow: Any, built: Graphs) -> None:
    x = torch.ones(2, 3, 2, device=flow.device, requires_grad=True)
    x.erfinv().sum().backward()
    x.grad.tolist()
    origins = {
        node.meta["genie"].origin for g in built.seen for node in g.nodes if "genie" in node.meta
    }
    assert any(origin.startswith(__file__) for origin in origins)
    assert any("backward" in origin for origin in origins)


def test_metadata_tells_each_values_geometry(flow: Any, built: Graphs) -> None:
    x = torch.arange(6, dtype=torch.int16).view(2, 3).to(flow.device)
    flow.settle()
    y = x.t() + 1
    flow.settle()
    node = built.calls()[-1]
    geometry = node.meta["geometry"]
    assert geometry.dtype == torch.int16
    assert (geometry.size, geometry.stride, geometry.offset) == ((3, 2), y.stride(), 0)
