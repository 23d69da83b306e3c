"""How data flows through a graph whose ops write in place, storage by storage."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

import torch.fx

from genie_core.graph import reads, writes

Node = torch.fx.Node


class Flow:
    """A graph's recorded ops in their order, with the slots that each reads and writes."""

    def __init__(self, graph: torch.fx.Graph) -> None:
        self.ops: list[Node] = [node for node in graph.nodes if "op" in node.meta]
        self.placeholders: dict[int, Node] = {
            node.meta["slot"]: node for node in graph.nodes if "uploaded" in node.meta
        }
        self.values: dict[int, tuple[int, int]] = {
            node.meta["slot"]: node.meta["value"] for node in graph.nodes if "value" in node.meta
        }
        self.reads: list[list[int]] = [reads(node) for node in self.ops]
        self.writes: list[list[int]] = [writes(node) for node in self.ops]
        self._makers: dict[int, list[int]] = {}
        self._readers: dict[int, list[int]] = {}
        for index in range(len(self.ops)):
            for slot in self.writes[index]:
                self._makers.setdefault(slot, []).append(index)
            for slot in self.reads[index]:
                self._readers.setdefault(slot, []).append(index)

    def name(self, index: int) -> str:
        """The op's name without namespace and overload."""
        return str(self.ops[index].meta["op"]).partition("::")[2].partition(".")[0]

    def argument(self, index: int, position: int) -> int | None:
        """The slot of an op's positional argument, if that is a tensor."""
        args = self.ops[index].args
        node = args[position] if position < len(args) else None
        return node.meta.get("slot") if isinstance(node, Node) else None

    def maker(self, slot: int, before: int) -> int | None:
        """The latest op before op `before` that wrote `slot`."""
        makers = self._makers.get(slot, [])
        position = bisect_left(makers, before)
        return makers[position - 1] if position else None

    def first_use(self, slot: int) -> int | None:
        """The first op that reads or writes `slot`."""
        uses = [*self._readers.get(slot, ())[:1], *self._makers.get(slot, ())[:1]]
        return min(uses, default=None)

    def readers(self, slot: int, after: int) -> Iterator[int]:
        """The ops that read what op `after` left in `slot`; -1 is what a placeholder brought."""
        for index in self._readers.get(slot, ()):
            if index > after:
                maker = self.maker(slot, index)
                if (-1 if maker is None else maker) == after:
                    yield index
