"""Ops that compute what another has computed already."""

from __future__ import annotations

import operator as _operator
from collections import Counter
from collections.abc import Hashable
from typing import Any

import attrs
import torch.fx

from genie_core.graph import strided_view, writes
from genie_plugins.passes.dead import erase
from genie_plugins.passes.purity import is_pure, kept, made, ops_of

Node = torch.fx.Node


@attrs.frozen
class CommonSubexpressions:
    """Uses the first of equal ops, where nobody writes to what they give."""

    name: str = "common_subexpressions"
    tolerance: float = 0.0

    def apply(self, graph: torch.fx.Graph) -> int:
        """Edit `graph`, and return how many ops went."""
        ops = ops_of(graph)
        writers = Counter(slot for node in ops for slot in writes(node))
        fixed = kept(graph)
        versions: Counter[int] = Counter()
        known: dict[Hashable, Node] = {}
        dropped = 0
        for node in ops:
            own = made(node)
            if is_pure(node) and node is not ops[-1] and all(writers[slot] == 1 for slot in own):
                first = known.setdefault(_key(node, versions), node)
                if first is not node and not fixed.intersection(own):
                    _replace(graph, node, first)
                    dropped += 1
                    continue
            versions.update(writes(node))
        return dropped


def _key(node: Node, versions: Counter[int]) -> Hashable:
    def told(arg: Any) -> Hashable:
        if isinstance(arg, Node):
            if "slot" in arg.meta:
                slot = arg.meta["slot"]
                return ("slot", slot, versions[slot], arg.meta["geometry"])
            if "symbol" in arg.meta:
                return ("symbol", arg.meta["symbol"], bool(arg.meta.get("real")))
            return ("call", arg.target, tuple(map(told, arg.args)))
        if isinstance(arg, list | tuple):
            return ("list", *map(told, arg))
        # 1, 1.0 and True are equal, 0.0 and -0.0 too, and not the same to an op.
        return (type(arg), repr(arg))

    outputs = tuple(output[2] for output in node.meta["outputs"])
    words = tuple((key, told(value)) for key, value in sorted(node.kwargs.items()))
    return (node.target, tuple(map(told, node.args)), words, outputs, node.meta["modes"])


def _replace(graph: torch.fx.Graph, node: Node, first: Node) -> None:
    """Have everybody who reads what `node` gives read what `first` gives."""
    theirs = _results(first)
    for index, result in _results(node).items():
        slot = result.meta["slot"]
        other = theirs.get(index)
        if other is None:
            with graph.inserting_after(first):
                other = graph.call_function(_operator.getitem, (first, index))
            other.meta = dict(result.meta, slot=first.meta["outputs"][index][1])
        for view in [user for user in result.users if user.target is strided_view]:
            assert view.meta["slot"] == slot
            view.meta["slot"] = other.meta["slot"]
        result.replace_all_uses_with(
            other, delete_user_cb=lambda user: "op" in user.meta or user.target is strided_view
        )
    erase(graph, node)


def _results(node: Node) -> dict[int, Node]:
    """The nodes that stand for an op's tensors, by the output's number."""
    if "slot" in node.meta:
        return {0: node}
    return {user.args[1]: user for user in node.users if user.target is _operator.getitem}  # type: ignore[misc]
