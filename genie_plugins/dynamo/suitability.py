"""What of a graph decides whether its runs can be prepared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.fx

from genie_core.compat import NAME

Node = torch.fx.Node


def objection(graph: torch.fx.Graph) -> str:
    """Why each call of a graph has to be recorded; "" where nothing says so beforehand.

    That it reads values is noticed while it is recorded.
    """
    for node in graph.nodes:
        if _draws_numbers(node) and _is_elsewhere(node.meta.get("val")):
            return f"{node.target} draws numbers on another device"
    return ""


def written_inputs(graph: torch.fx.Graph) -> list[int] | None:
    """The inputs, counted, that a graph writes to; None where it writes to anything else."""
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    written = set(_written(graph))
    if written - set(inputs):
        return None
    return [index for index, node in enumerate(inputs) if node in written]


def _written(graph: torch.fx.Graph) -> Iterator[Node]:
    for node in graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            continue
        for position, argument in enumerate(schema.arguments):
            if argument.alias_info is not None and argument.alias_info.is_write:
                found = node.args[position] if position < len(node.args) else None
                found = node.kwargs.get(argument.name, found)
                yield from _nodes(found)


def _nodes(argument: Any) -> list[Node]:
    items = argument if isinstance(argument, list | tuple) else [argument]
    return [item for item in items if isinstance(item, Node)]


def _draws_numbers(node: Node) -> bool:
    return torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _is_elsewhere(value: Any) -> bool:
    values = value if isinstance(value, list | tuple) else [value]
    return any(isinstance(one, torch.Tensor) and one.device.type != NAME for one in values)
