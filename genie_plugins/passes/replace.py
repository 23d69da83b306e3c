"""Matches of patterns, put into other words."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs
import torch.fx

from genie_core.graph import reads, writes
from genie_core.log import get_logger
from genie_plugins.passes.exact import is_spelled
from genie_plugins.passes.lifted import Lifted, argument
from genie_plugins.passes.purity import is_function, kept, made, ops_of
from genie_plugins.passes.tracing import Unsuitable, trace
from genie_plugins.passes.writer import Traces, Writer

if TYPE_CHECKING:
    from genie_core.values import Match, Pattern

Node = torch.fx.Node
_log = get_logger("passes")


@attrs.frozen
class Replace:
    """Puts a pattern's replacement where it matched and nobody looks inside."""

    pattern: Pattern

    @property
    def name(self) -> str:
        """The pattern's."""
        return self.pattern.name

    @property
    def tolerance(self) -> float:
        """The pattern's."""
        return self.pattern.tolerance

    def apply(self, graph: torch.fx.Graph) -> int:
        """Edit `graph`, and return how many matches were replaced."""
        found = [
            match
            for node in ops_of(graph)
            for match in node.meta.get("matches", ())
            if match.pattern.name == self.name and match.pattern.replacement is not None
        ]
        return sum(_replaced(graph, match) for match in found)


def _replaced(graph: torch.fx.Graph, match: Match) -> bool:
    try:
        place = Place.find(graph, match)
        _insert(graph, place, match)
    except Unsuitable as unsuitable:
        _log.debug("match.kept", pattern=match.pattern.name, reason=unsuitable.reason)
        return False
    return True


@attrs.frozen
class Place:
    """Where a match is in a graph, once nothing speaks against its replacement."""

    ops: list[Node]
    inputs: dict[str, Node | list[Node]]
    outputs: list[Node]
    writes: tuple[str, ...] = ()

    @classmethod
    def find(cls, graph: torch.fx.Graph, match: Match) -> Place:
        """Look a match of the original up in its copy. Raises `Unsuitable`."""
        here = {node.name: node for node in graph.nodes}
        try:
            place = cls(
                sorted((here[node.name] for node in match.nodes), key=lambda n: n.meta["index"]),
                {name: _found(here, node) for name, node in match.inputs.items()},
                [here[node.name] for node in match.outputs],
                match.writes,
            )
        except KeyError:
            raise Unsuitable("another pass has changed it") from None
        place.check(graph)
        return place

    @property
    def tensors(self) -> Iterator[Node]:
        """Its inputs that are tensors, one by one."""
        for node in self.inputs.values():
            every = node if isinstance(node, list) else [node]
            yield from (one for one in every if "slot" in one.meta)

    @property
    def written(self) -> set[int]:
        """The slots of the inputs that may be written to."""
        nodes = [one for name in self.writes for one in _nodes(self.inputs[name])]
        return {one.meta["slot"] for one in nodes}

    def check(self, graph: torch.fx.Graph) -> None:
        """Raise `Unsuitable` where somebody would see the difference."""
        own = set(self.ops)
        given = {node.meta["slot"] for node in self.outputs}
        inside = {slot for node in self.ops for slot in made(node)} - given
        written = self.written
        if not all(is_function(node, inside | given | written) for node in self.ops):
            raise Unsuitable("it has effects")
        if kept(graph) & inside:
            raise Unsuitable("what it computes on its way is wanted later")
        taken = Counter(node.meta["slot"] for node in self.tensors)
        if any(taken[slot] > 1 for slot in written):
            raise Unsuitable("an input that it writes to lies on the same storage as another")
        for node, is_within in self._others(graph, own):
            if inside.intersection(reads(node)):
                raise Unsuitable("others read what it computes on its way")
            if is_within and not taken.keys().isdisjoint(writes(node)):
                raise Unsuitable("its inputs change meanwhile")
            if is_within and (given | written).intersection(reads(node)):
                raise Unsuitable("its results are read before it ends")

    def _others(self, graph: torch.fx.Graph, own: set[Node]) -> Iterator[tuple[Node, bool]]:
        """The other ops, and whether they come between its first and its last."""
        within = False
        for node in ops_of(graph):
            within = within or node is self.ops[0]
            if node is self.ops[-1]:
                within = False
            elif node not in own:
                yield node, within


def _found(here: dict[str, Node], given: Any) -> Node | list[Node]:
    if isinstance(given, list | tuple):
        return [here[one.name] for one in given]
    return here[given.name]


def _insert(graph: torch.fx.Graph, place: Place, match: Match) -> None:
    function = match.pattern.replacement
    assert function is not None
    values = {**match.literals, **place.inputs}
    names = _parameters(match.pattern, frozenset(values))
    if match.pattern.spellings and not is_spelled(match.pattern, place.ops, values):
        raise Unsuitable("it does more than the pattern says")
    lifted = Lifted()
    both = [argument(values[name], lifted) for name in names]
    try:
        one = trace(function, names, tuple(was for was, _ in both))
        other = trace(function, names, tuple(might for _, might in both))
    except Exception as error:  # the replacement does not take such tensors
        raise Unsuitable(f"{type(error).__name__}: {error}") from error
    tensors = [node for name in names for node in _nodes(values[name])]
    Writer(graph, place, Traces(one, other, lifted), tensors).write()


def _parameters(pattern: Pattern, known: frozenset[str]) -> tuple[str, ...]:
    """The parameters of a replacement that a match has. Raises `Unsuitable` where others lack."""
    assert pattern.replacement is not None
    if lacks := _lacking(pattern.name, pattern.replacement, known):
        raise Unsuitable(lacks)
    return tuple(n for n in inspect.signature(pattern.replacement).parameters if n in known)


@lru_cache(None)  # said once
def _lacking(pattern: str, function: Callable[..., Any], known: frozenset[str]) -> str:
    lacks = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in known and parameter.default is inspect.Parameter.empty
    ]
    if not lacks:
        return ""
    reason = f"it takes {', '.join(lacks)}; the pattern has {', '.join(sorted(known))}"
    _log.warning("replacement.unfit", pattern=pattern, reason=reason)
    return reason


def _nodes(value: Any) -> list[Node]:
    if isinstance(value, Node):
        return [value]
    return [one for one in value if isinstance(one, Node)] if isinstance(value, list) else []
