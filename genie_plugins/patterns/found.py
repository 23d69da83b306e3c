"""Matches while they are being put together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import torch.fx

from genie_core import Match, Pattern

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step, Value
    from genie_plugins.patterns.view import View

Node = torch.fx.Node


@attrs.define(eq=False)
class Found:
    """A match, by the view's steps."""

    pattern: Pattern
    steps: tuple[Step, ...]
    """In their order; the last is where the match ends."""
    nodes: tuple[Node, ...]
    """Recorded ops, in any order."""
    inputs: dict[str, Value] = attrs.Factory(dict)
    outputs: tuple[Step, ...] = ()
    literals: dict[str, Any] = attrs.Factory(dict)
    parts: tuple[Found, ...] = ()
    links: dict[str, Step] = attrs.Factory(dict)
    """Steps that it is between, for what is made of it."""
    names: dict[torch.fx.Graph, str] = attrs.Factory(dict)
    """What it is called in each graph that has some of it."""
    nodes_to_name: tuple[Node, ...] | None = None
    """Those of its nodes that do not have its name yet, if not all."""
    _match: Match | None = None

    @property
    def end(self) -> Step:
        """The step that comes last."""
        return self.steps[-1]

    def since(self, begin: int, order: dict[Node, int]) -> Match | None:
        """What steps from `begin` on are of it: all, the later parts of a loop, or nothing."""
        if not self.steps or self.steps[0].index >= begin:
            return self.match(order)
        parts = [part for part in self.parts if part.steps and part.steps[0].index >= begin]
        if self.pattern.name != "cell_loop" or len(parts) < 2:
            return None
        return detected("cell_loop", [], parts=parts).match(order)

    def match(self, order: dict[Node, int]) -> Match:
        """What everybody sees of it."""
        if self._match is None:
            self._match = Match(
                self.pattern,
                tuple(sorted(set(self.nodes), key=order.__getitem__)),
                {name: v.node for name, v in self.inputs.items() if v.node is not None},
                tuple(step.node for step in self.outputs if step.node is not None),
                self.literals,
                tuple(part.match(order) for part in self.parts),
            )
        return self._match


Families = dict[str, list[Found]]
"""What was found, by family, in the order of the ends."""


class Detector(Protocol):
    """Finds a family that no template can spell."""

    def __call__(self, view: View, found: Families, /) -> Iterable[Found]:
        """Find it, knowing what was found before."""


def detected(
    name: str,
    steps: Iterable[Step],
    *,
    parts: Iterable[Found] = (),
    links: dict[str, Step] | None = None,
    **literals: Any,
) -> Found:
    """What a detector found: all that the steps and the parts stand for."""
    parts = tuple(parts)
    every = {*steps, *(step for part in parts for step in part.steps)}
    ordered = tuple(sorted(every, key=lambda step: step.index))
    nodes = [node for step in ordered for node in step.nodes]
    nodes += [node for part in parts for node in part.nodes]
    pattern = Pattern(name, (), tuple)
    return Found(pattern, ordered, tuple(nodes), {}, ordered[-1:], literals, parts, links or {})
