"""Optimizers' ops seen one tensor at a time, whether they take lists of tensors or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import attrs
import torch
import torch.fx

from genie_core.graph import host_scalar

Node = torch.fx.Node
_FOREACH = "_foreach_"


@attrs.frozen(eq=False)
class Single:
    """What an op does for one tensor: `mul_`, `lerp_`, `sqrt`, …"""

    name: str
    node: Node
    args: tuple[Any, ...]
    """Without the keyword; `alpha` or `value` comes last."""
    slot: int
    """What it writes to, or makes."""


class Singles:
    """The ops of an update, by what they write."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._order = {node: index for index, node in enumerate(nodes)}
        self._by_slot: dict[int, list[Single]] = defaultdict(list)
        self._by_node: dict[Node, list[Single]] = {}
        for node in self._order:
            self._by_node[node] = list(_singles(node))
            for single in self._by_node[node]:
                self._by_slot[single.slot].append(single)

    def named(self, name: str) -> list[Single]:
        """All of one name, in their order."""
        return [one for ones in self._by_node.values() for one in ones if one.name == name]

    def writing(self, tensor: Any) -> list[Single]:
        """Those that write a tensor's storage, in their order."""
        return self._by_slot.get(tensor.meta["slot"], []) if _is_tensor(tensor) else []

    def in_order(self, ones: Iterable[Single]) -> bool:
        """Whether they come in this order."""
        places = [self._order[one.node] for one in ones]
        return all(a < b for a, b in pairwise(places))

    def whole(self, ones: Iterable[Single]) -> tuple[Node, ...] | None:
        """The ops that do just these, in their order; None where one does more."""
        own = set(ones)
        nodes = {one.node for one in own}
        if not all(own.issuperset(self._by_node[node]) for node in nodes):
            return None
        return tuple(sorted(nodes, key=self._order.__getitem__))


def _singles(node: Node) -> Iterator[Single]:
    name = node.meta["op"].removeprefix("aten::").partition(".")[0]
    args: list[Any] = [
        *node.args,
        *(node.kwargs[k] for k in ("alpha", "value") if k in node.kwargs),
    ]
    if not name.startswith(_FOREACH):
        yield from _single(name, node, args, 0, node.kwargs.get("out"))
        return
    for index, _ in enumerate(args[0]):
        own = [each[index] if isinstance(each, list | tuple) else each for each in args]
        yield from _single(name.removeprefix(_FOREACH), node, own, index, None)


def _single(name: str, node: Node, args: list[Any], index: int, out: Any) -> Iterator[Single]:
    outputs = node.meta["outputs"]
    if out is not None or name.endswith("_"):
        target = args[0] if out is None else out
        if _is_tensor(target):
            yield Single(name, node, tuple(args), target.meta["slot"])
    elif index < len(outputs) and outputs[index][0] == 0:
        yield Single(name, node, tuple(args), outputs[index][1])


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Node) and "slot" in value.meta


def varying(argument: Any) -> Node | None:
    """The lifted number of a double that an argument is."""
    if not isinstance(argument, Node):
        return None
    if argument.target is host_scalar:
        dtype, _, low, _ = argument.args
        return low if dtype is torch.float64 and isinstance(low, Node) else None
    return argument if argument.meta.get("real") else None
