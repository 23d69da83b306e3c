"""What is found in the graphs that a test records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch.fx
    from semantics.recording import Recording


def graphs_of(recording: Recording, call: Callable[[], Any]) -> list[torch.fx.Graph]:
    """The graphs of a call, as whole as they get: the shapes of all its ops are known before."""
    import genie_core

    call()
    recording.forget()
    call()
    genie_core.synchronize(recording.device)
    return recording.graphs


def matches(graphs: list[torch.fx.Graph], name: str = "") -> list[Any]:
    """All matches, or those of a family, that lie within one graph."""
    every = [m for graph in graphs for node in graph.nodes for m in node.meta.get("matches", ())]
    return [match for match in every if name in ("", match.pattern.name)]


def ops(graphs: list[torch.fx.Graph], name: str) -> list[torch.fx.Node]:
    """The ops that belong to a family, in all graphs."""
    nodes = [node for graph in graphs for node in graph.nodes if "op" in node.meta]
    return [node for node in nodes if name in families(node)]


def families(node: torch.fx.Node) -> set[str]:
    return {label.partition("#")[0] for label in node.meta["genie"].patterns}


def counts(graphs: list[torch.fx.Graph]) -> Counter[str]:
    """How many instances of each family the graphs have; a cut one counts in each."""
    found: Counter[str] = Counter()
    for graph in graphs:
        labels = {
            p for node in graph.nodes if "op" in node.meta for p in node.meta["genie"].patterns
        }
        found.update(label.partition("#")[0] for label in labels)
    return found
