"""Which ops of a graph use what which others left, be it in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_core.graph import reads, writes

if TYPE_CHECKING:
    import torch.fx


def sources(nodes: list[torch.fx.Node]) -> list[list[int]]:
    """For each op of a graph, in order, the earlier ops whose results it uses, by their index."""
    makers: dict[int, int] = {}  # by slot
    found = []
    for index, node in enumerate(nodes):
        found.append(sorted({makers[slot] for slot in reads(node) if slot in makers}))
        makers.update((slot, index) for slot in writes(node))
    return found
