"""Views of the latest programs: a trace is cut into programs in the middle of attention too."""

from __future__ import annotations

import threading
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import attrs
import torch.fx

if TYPE_CHECKING:
    from genie_plugins.patterns.found import Families, Found
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.storage import Storage

Node = torch.fx.Node

MOST_VIEWS = 16
MOST_STEPS = 1 << 13


@attrs.define(eq=False)
class Remembered:
    """A view that later programs may go on from."""

    graph: torch.fx.Graph
    steps: list[Step]
    values: list[Any]
    """What its program left for others."""
    first: int
    """Position of its first op."""
    counts: Counter[str] = attrs.Factory(Counter)
    """How many instances of each family its nodes have."""
    labels: dict[Node, list[tuple[int, str]]] = attrs.Factory(dict)
    """Size and name of each instance that a node is part of."""


class Memory:
    """What the latest programs computed, by value, and what was found in them."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.storages: dict[Any, Storage] = {}
        self.positions: dict[Node, int] = {}
        self.found: Families = {}
        self.next_index = 0
        self.next_position = 0
        self._views: deque[Remembered] = deque()

    def keep(self, view: Remembered) -> None:
        """Remember a view, and forget those of long ago."""
        self._views.append(view)
        steps = sum(len(one.steps) for one in self._views)
        while len(self._views) > 1 and (len(self._views) > MOST_VIEWS or steps > MOST_STEPS):
            oldest = self._views.popleft()
            steps -= len(oldest.steps)
            self._forget(oldest)

    def view_of(self, graph: torch.fx.Graph) -> Remembered | None:
        """What is remembered of a graph."""
        return next((view for view in reversed(self._views) if view.graph is graph), None)

    def _forget(self, view: Remembered) -> None:
        for value in view.values:
            self.storages.pop(value, None)
        gone = set(view.steps)
        last = view.first + len(view.graph.nodes)
        for node in view.graph.nodes:
            if view.first <= self.positions.get(node, -1) <= last:
                del self.positions[node]
        for step in view.steps:
            step.forget()
        for name, ones in self.found.items():
            self.found[name] = [one for one in ones if _lasts(one, gone)]


def _lasts(one: Found, gone: set[Step]) -> bool:
    return gone.isdisjoint(one.steps)


memory = Memory()
