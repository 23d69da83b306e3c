"""Recorded ops, read one by one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch.fx

from genie_core.graph import host_scalar

Node = torch.fx.Node


class Recorded:
    """The ops of a match by what they make."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self._makers = {out[1]: n for n in nodes for out in n.meta["outputs"] if out[0] == 0}

    def maker(self, tensor: object) -> Node | None:
        """The match's op that makes a tensor."""
        if isinstance(tensor, Node) and "slot" in tensor.meta:
            return self._makers.get(tensor.meta["slot"])
        return None

    def named(self, *names: str) -> list[Node]:
        """The ops of these names, such as ``aten::bmm``."""
        return [node for node in self.nodes if node.meta["op"] in names]

    def only(self, *names: str) -> Node | None:
        """The one op of these names, if there is just one."""
        found = self.named(*names)
        return found[0] if len(found) == 1 else None


def number(argument: Any) -> float | int | None:
    """The number that an argument is; None for a tensor, or a number that varies."""
    if isinstance(argument, bool):
        return None
    if isinstance(argument, int | float):
        return argument
    if isinstance(argument, Node) and argument.target is host_scalar:
        if any(isinstance(word, Node) for word in argument.args):
            return None
        found: float | int = host_scalar(*argument.args).item()
        return found
    return None


def size(tensor: Node) -> tuple[Any, ...]:
    """Of a tensor; numbers that vary are FX nodes."""
    found: tuple[Any, ...] = tensor.meta["geometry"].size
    return found


def made(nodes: Iterable[Node]) -> set[int]:
    """The slots of what ops make."""
    return {output[1] for node in nodes for output in node.meta["outputs"] if output[0] == 0}


def kept_slots(graph: torch.fx.Graph) -> set[int]:
    """The slots of what outlives a run."""
    (nodes,) = next(node for node in reversed(graph.nodes) if node.op == "output").args
    return {node.meta["slot"] for node in nodes}
