"""The graphs of branches and bodies, by the names that control flow gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genie_core.graph import CONTROL

if TYPE_CHECKING:
    import torch.fx

    from genie_core.program import EncodedProgram

_regions: dict[str, tuple[torch.fx.Graph, Sequence[int]]] = {}


def keep(program: EncodedProgram, bound: Sequence[int]) -> str:
    """Remember a region, with the slots that its inputs go to; returns its name."""
    name = program.name.hex()
    _regions.setdefault(name, (program.graph, bound))
    return name


def graph_of(name: str) -> tuple[torch.fx.Graph, Sequence[int]]:
    """A region's graph, and the slots that its inputs go to."""
    return _regions[name]


def attach(graph: torch.fx.Graph) -> None:
    """Put the graphs of the regions at ``meta["regions"]`` of each node that runs some, by name."""
    for node in graph.nodes:
        if node.meta.get("op") in CONTROL:
            names = [name for arg in node.args if (name := _name(arg))]
            node.meta["regions"] = {name: graph_of(name)[0] for name in names}


def _name(arg: Any) -> str:
    """Of an argument that is a region ``[name, inputs, symbols]``; else nothing."""
    is_region = isinstance(arg, list | tuple) and len(arg) == 3 and isinstance(arg[0], str)
    return arg[0] if is_region else ""
