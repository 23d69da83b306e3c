"""What the ops of control flow do, for graphs that are run by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
import torch.fx

from genie_core.graph import CONTROL, STEPS, return_values, strided_view
from genie_plugins.control_flow.regions import graph_of

Tensor = torch.Tensor
Region = Sequence[Any]
"""``[name, inputs, symbols]``: see `genie_core.graph.CONTROL`."""


def cond(predicate: Tensor, yes: Region, no: Region, _written: Sequence[Any]) -> list[Tensor]:
    """What one of two branches gives."""
    flag = strided_view(predicate, torch.bool, (), (), 0, 0)
    return run(yes if bool(flag) else no)


def while_loop(
    initial: Sequence[Tensor], condition: Region, body: Region, stacked: int, _: Sequence[Any]
) -> list[Tensor]:
    """What the last iteration gives, or each of them, stacked."""
    carried, all_carried = list(initial), []
    while bool(run(condition, carried)[0]):
        carried = run(body, carried)
        all_carried.append(carried)
    if not stacked:
        return [tensor.clone() for tensor in carried]
    return [torch.stack(each) for each in zip(*all_carried or [carried], strict=True)]


def repeat(
    _what: str, count: int, initial: Sequence[Tensor], body: Region, _: Sequence[Any]
) -> list[Tensor]:
    """What the last of `count` iterations gives; `what` says what it is for, such as a scan."""
    carried = list(initial)
    for _iteration in range(count):
        carried = run(body, carried)
    return [tensor.clone() for tensor in carried]


def run(region: Region, given: Sequence[Tensor] = ()) -> list[Tensor]:
    """What a region gives, for what an iteration is given."""
    name, inputs, symbols = region
    graph, bound = graph_of(name)
    interpreter = _Interpreter(_module(name))
    interpreter.run(*(_input(node, bound, inputs, symbols, given) for node in _taken(graph)))
    return interpreter.results


@lru_cache(maxsize=64)
def _module(name: str) -> torch.fx.GraphModule:
    return torch.fx.GraphModule(torch.nn.Module(), graph_of(name)[0])


def _taken(graph: torch.fx.Graph) -> list[torch.fx.Node]:
    return [node for node in graph.nodes if node.op == "placeholder"]


def _input(
    node: torch.fx.Node,
    bound: Sequence[int],
    inputs: Sequence[Any],
    symbols: Sequence[Any],
    given: Sequence[Tensor],
) -> Any:
    if "symbol" in node.meta:
        return symbols[node.meta["symbol"]]
    item = inputs[bound.index(node.meta["slot"])]
    value = given[item] if isinstance(item, int) else item
    geometry = node.meta["geometry"]
    if geometry is None:
        return value
    numbers = [
        symbols[n.meta["symbol"]] if isinstance(n, torch.fx.Node) else n
        for n in (*geometry.size, *geometry.stride, geometry.offset)
    ]
    rank = len(geometry.size)
    return strided_view(
        value, geometry.dtype, numbers[:rank], numbers[rank:-1], numbers[-1], geometry.flags
    )


class _Interpreter(torch.fx.Interpreter):
    """Keeps what the last step says that the region gives."""

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        found = super().call_function(target, args, kwargs)
        if target is return_values:
            self.results: list[Tensor] = list(found)
        return found


def register() -> None:
    """Let graphs have these steps."""
    STEPS.update(zip(CONTROL, (cond, while_loop, repeat), strict=True))
