"""Tensors that grow by `cat`, as a key-value cache does."""

from __future__ import annotations

from typing import Any

import attrs
import torch
import torch.fx

from genie_core.graph import append
from genie_plugins.passes.purity import kept, made, ops_of

Node = torch.fx.Node


@attrs.frozen
class Append:
    """Lets the executor write behind what a tensor was in the run before, rather than copy it."""

    name: str = "append"
    tolerance: float = 0.0

    def apply(self, graph: torch.fx.Graph) -> int:
        """Edit `graph`, and return how many appends it found."""
        lasting = kept(graph)
        made_here = {slot for node in ops_of(graph) for slot in made(node)}
        found = [node for node in ops_of(graph)[:-1] if _grows(node, lasting, made_here)]
        for node in found:
            node.target = append  # of the same arguments as `cat`
            node.meta["op"] = "genie::append"
        return len(found)


def _grows(node: Node, lasting: set[int], made_here: set[int]) -> bool:
    if node.target is not torch.ops.aten.cat.default or not lasting.issuperset(made(node)):
        return False
    parts: Any
    parts, dim = node.args
    slots = [part.meta["slot"] for part in parts]
    return len(slots) > 1 and isinstance(dim, int) and slots[0] not in made_here
