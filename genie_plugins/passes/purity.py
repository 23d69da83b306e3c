"""What passes may assume of an op."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.fx

from genie_core.graph import STEPS, operator, writes

Node = torch.fx.Node


def ops_of(graph: torch.fx.Graph) -> list[Node]:
    """The recorded ops, in order."""
    return [node for node in graph.nodes if "op" in node.meta]


def made(node: Node) -> list[int]:
    """Slots of the tensors that an op makes."""
    return [output[1] for output in node.meta["outputs"] if output[0] == 0]


def kept(graph: torch.fx.Graph) -> set[int]:
    """Slots that outlive a run."""
    (nodes,) = next(node for node in reversed(graph.nodes) if node.op == "output").args
    return {node.meta["slot"] for node in nodes}


def is_pure(node: Node) -> bool:
    """Whether an op does nothing but make tensors, which no generator or memory decides."""
    if any(output[0] != 0 for output in node.meta["outputs"]):
        return False
    return bool(made(node)) and is_function(node, set(made(node)))


def is_function(node: Node, slots: set[int]) -> bool:
    """Whether an op writes to these slots only, and nothing but its operands decides what."""
    if node.meta["op"] in STEPS or "generator" in node.meta or not slots.issuperset(writes(node)):
        return False
    if any(source.meta.get("geometry", node) is None for source in node.all_input_nodes):
        return False  # a generator, or a whole value
    return _is_determined(node.meta["op"])


@lru_cache(None)
def _is_determined(name: str) -> bool:
    overload = operator(name)
    base = name.partition("::")[2].partition(".")[0]
    if base.startswith(("empty", "new_empty")) or base.endswith(("assert_async", "assert")):
        return False  # what an uninitialised tensor holds is nobody's business
    if name.partition("::")[0] != "aten":
        return False  # another library's op may do anything
    return torch.Tag.nondeterministic_seeded not in overload.tags
