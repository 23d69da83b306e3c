"""Phases of training in a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    import torch.fx

    from genie_core.graph import Mark


def annotate(graph: torch.fx.Graph) -> None:
    """Set `phase` and `forward` of each recorded node's `Semantics`."""
    for node in graph.nodes:
        mark = node.meta.get("mark")
        if mark is not None:
            node.meta["genie"] = attrs.evolve(
                node.meta["genie"], phase=phase(mark), forward=mark.forward
            )


def phase(mark: Mark) -> str:
    """What autograd and the thread's context say; what neither claims is forward."""
    if mark.in_backward:
        return "backward"
    return mark.context.phase or "forward"
