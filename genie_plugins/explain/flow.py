"""Which ops of a graph use what which others left, be it in place."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch.fx

from genie_core.graph import STEPS, operator

Node = torch.fx.Node


def sources(nodes: list[Node]) -> list[list[int]]:
    """For each op of a graph, in order, the earlier ops whose results it uses, by their index."""
    makers: dict[int, int] = {}  # by slot
    found = []
    for index, node in enumerate(nodes):
        slots = [source.meta["slot"] for source in node.all_input_nodes if "slot" in source.meta]
        found.append(sorted({makers[slot] for slot in slots if slot in makers}))
        makers.update((slot, index) for slot in _written(node))
    return found


def _written(node: Node) -> Iterator[int]:
    """The slots that an op makes or changes."""
    yield from (output[1] for output in node.meta["outputs"] if output[0] == 0)
    for key in _changed(node.meta["op"]):
        argument = node.kwargs.get(key) if isinstance(key, str) else node.args[key : key + 1]
        yield from _slots(argument)


def _slots(argument: Any) -> Iterator[int]:
    if isinstance(argument, list | tuple):
        for item in argument:
            yield from _slots(item)
    elif isinstance(argument, Node) and "slot" in argument.meta:
        yield argument.meta["slot"]


@lru_cache(None)
def _changed(name: str) -> tuple[int | str, ...]:
    """Which arguments an op writes: positions, or names of those that go by keyword only."""
    if name in STEPS:
        return (0,)
    if name == "aten::_copy_from":
        return (1,)
    return tuple(
        argument.name if argument.kwarg_only else position
        for position, argument in enumerate(operator(name)._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )
