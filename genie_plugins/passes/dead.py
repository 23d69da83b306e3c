"""Ops whose results nobody reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from genie_core.graph import reads, writes
from genie_plugins.passes.purity import is_pure, kept, made, ops_of

if TYPE_CHECKING:
    import torch.fx


@attrs.frozen
class DeadCode:
    """Drops ops that only make what is neither kept nor read."""

    name: str = "dead_code"
    tolerance: float = 0.0

    def apply(self, graph: torch.fx.Graph) -> int:
        """Edit `graph`, and return how many ops went."""
        wanted = kept(graph)
        dropped = 0
        ops = ops_of(graph)
        for node in reversed(ops):
            # The client may wait for what the last one gives.
            if node is not ops[-1] and is_pure(node) and wanted.isdisjoint(made(node)):
                erase(graph, node)
                dropped += 1
            else:
                wanted.update(reads(node), writes(node))
        return dropped


def erase(graph: torch.fx.Graph, node: torch.fx.Node) -> None:
    """Take out a node, and the parts and views of it that nobody uses."""
    for user in list(node.users):
        erase(graph, user)
    graph.erase_node(node)
