"""Ops that give the same in every run."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any

import attrs
import torch.fx

from genie_core.graph import writes
from genie_plugins.passes.purity import is_pure, kept, made, ops_of

Node = torch.fx.Node
MOST = 16 << 20
"""Bytes of a constant: it stays on the executor as long as the program."""


@attrs.frozen
class Constants:
    """Marks the ops that depend on nothing; the executor runs them once.

    Another op for each would say the same with larger messages.
    """

    name: str = "constants"
    tolerance: float = 0.0

    def apply(self, graph: torch.fx.Graph) -> int:
        """Mark ops of `graph`, and return how many."""
        ops = ops_of(graph)
        writers = Counter(slot for node in ops for slot in writes(node))
        lasting = kept(graph)
        found: set[int] = set()
        marked = 0
        for node in ops[:-1]:
            own = made(node)
            if len(own) != 1 or writers[own[0]] != 1 or own[0] in lasting or not is_pure(node):
                continue
            if _depends_on(node, found) and _nbytes(node) <= MOST:
                node.meta["once"] = True
                found.add(own[0])
                marked += 1
        return marked


def _depends_on(node: Node, constants: set[int]) -> bool:
    """Whether an op takes nothing but literals and constants."""
    return all(
        source.meta["slot"] in constants
        if "slot" in source.meta
        else source.op != "placeholder" and _depends_on(source, constants)
        for source in node.all_input_nodes
    ) and not _symbols(node)


def _symbols(node: Node) -> bool:
    """Whether an op gives another size from run to run."""
    return any(
        isinstance(number, Node)
        for output in node.meta.get("outputs", ())
        for number in _numbers(output)
    )


def _numbers(output: tuple[Any, ...]) -> tuple[Any, ...]:
    geometry = output[2]
    return (geometry.offset, *geometry.size, *geometry.stride)


def _nbytes(node: Node) -> int:
    geometry = node.meta["outputs"][0][2]
    return int(prod(geometry.size) * geometry.dtype.itemsize)
