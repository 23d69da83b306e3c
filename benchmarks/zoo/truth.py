"""The truth of a graph: its instances of patterns, and which ops no rule decides on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import attrs

from .calls import Call, call_of

if TYPE_CHECKING:
    import torch.fx

Ops = frozenset[int]
"""Indices of ops in their graph."""


@attrs.frozen
class Instance:
    """One instance of a family: the ops that are it beyond doubt, and those that may be of it."""

    family: str
    core: Ops
    open: Ops = frozenset()


@attrs.frozen
class Truth:
    """The instances of a graph, and by family the further ops that are a matter of taste."""

    instances: tuple[Instance, ...]
    open: dict[str, Ops]
    neutral: Ops
    """Ops that compute nothing, such as copies: of any pattern, or of none."""

    def of(self, family: str) -> list[Instance]:
        """The instances of a family."""
        return [instance for instance in self.instances if instance.family == family]

    def undecided(self, family: str) -> Ops:
        """The ops that count neither for nor against a family."""
        found = self.neutral | self.open.get(family, frozenset())
        return found.union(*(instance.open for instance in self.of(family)))


class Ran:
    """The recorded ops of a graph by the call that recorded them."""

    def __init__(self, nodes: Sequence[torch.fx.Node]) -> None:
        self.nodes = nodes
        self.names = [_name(node) for node in nodes]
        self.own: dict[Call, list[int]] = defaultdict(list)
        """By call, the ops that it recorded itself."""
        self.below: dict[Call, list[int]] = defaultdict(list)
        """By call, its own ops and those of the calls that it made, in order."""
        self._positions = {node: index for index, node in enumerate(nodes)}
        for index, node in enumerate(nodes):
            call = call_of(node)
            if call is not None:
                self.own[call].append(index)
                for outer in call.chain():
                    self.below[outer].append(index)

    @property
    def calls(self) -> list[Call]:
        """Every call that recorded ops, itself or by others, in the order of their first ops."""
        return list(self.below)

    def named(self, ops: Iterable[int], names: Iterable[str]) -> list[int]:
        """Those of `ops` that have one of these names."""
        wanted = set(names)
        return [index for index in ops if self.names[index] in wanted]

    def groups(self, ops: Sequence[int]) -> list[list[int]]:
        """`ops` in groups that no data connects: within one, a later op reads an earlier's."""
        leader = {index: index for index in ops}

        def find(index: int) -> int:
            while leader[index] != index:
                index = leader[index]
            return index

        latest: dict[int, int] = {}
        for index in ops:
            for slot in self._slots(index):
                if slot in latest:
                    leader[find(index)] = find(latest[slot])
            latest.update((slot, index) for slot in self._written(index))
        found: dict[int, list[int]] = defaultdict(list)
        for index in ops:
            found[find(index)].append(index)
        return list(found.values())

    def sources(self, index: int) -> list[torch.fx.Node]:
        """The tensors that an op reads."""
        return [node for node in self.nodes[index].all_input_nodes if "slot" in node.meta]

    def _slots(self, index: int) -> list[int]:
        return [node.meta["slot"] for node in self.sources(index)]

    def _written(self, index: int) -> list[int]:
        node = self.nodes[index]
        outputs = [output[1] for output in node.meta["outputs"] if output[0] == 0]
        in_place = node.meta["op"].partition(".")[0].endswith("_")
        return outputs + (self._slots(index) if in_place else [])


def _name(node: torch.fx.Node) -> str:
    """An op's name without namespace, overload and the mark of what is in place."""
    name = str(node.meta["op"]).partition("::")[2].partition(".")[0]
    return name.rstrip("_")
