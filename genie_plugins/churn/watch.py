"""Counts the programs that begin at one place of the user's code."""

from __future__ import annotations

import threading
from collections import OrderedDict
from itertools import groupby, zip_longest

import attrs
import torch.fx

from genie_core.graph import Geometry
from genie_core.log import get_logger

FEW = 8
"""Different programs at which a warning comes, and at each doubling."""
_PLACES = 256
_log = get_logger("churn")


@attrs.frozen
class Step:
    """What of an op makes a program another one: all but its numbers and sizes."""

    op: str
    operands: tuple[str, ...]
    """Per tensor, dtype and rank, as in ``float32[2]``."""

    def __str__(self) -> str:
        runs = [(operand, len(list(same))) for operand, same in groupby(self.operands)]
        told = ", ".join(operand if n == 1 else f"{n} x {operand}" for operand, n in runs)
        return f"{self.op}({told})"


@attrs.define
class Place:
    """A place, and the programs that began there."""

    seen: set[int] = attrs.Factory(set)
    last: list[Step] = attrs.Factory(list)
    warn_at: int = FEW


class Watch:
    """What is known of the places that programs began at, of which the latest are remembered."""

    def __init__(self) -> None:
        self._places: OrderedDict[tuple[str, str | None], Place] = OrderedDict()
        self._lock = threading.Lock()

    def see(self, graph: torch.fx.Graph) -> None:
        """Count a new program; warn where one place has had too many that differ in structure."""
        nodes = [node for node in graph.nodes if "op" in node.meta]
        if not nodes:
            return
        steps = [_step(node) for node in nodes]
        with self._lock:
            # A model's layers share their lines: each is a place of its own.
            known = nodes[0].meta["genie"]
            place, before = self._note((known.place, known.module), steps)
            if len(place.seen) < place.warn_at:
                return
            place.warn_at *= 2
        self._warn(nodes, len(place.seen), _difference(before, steps))

    def _note(self, key: tuple[str, str | None], steps: list[Step]) -> tuple[Place, list[Step]]:
        place = self._places.pop(key, None) or Place()
        self._places[key] = place
        if len(self._places) > _PLACES:
            self._places.popitem(last=False)
        before, place.last = place.last, steps
        if not _is_alike(before, steps):
            place.seen.clear()  # other work, that is done at the same place
        place.seen.add(hash(tuple(steps)))
        return place, before

    def _warn(self, nodes: list[torch.fx.Node], count: int, found: tuple[int, str]) -> None:
        index, difference = found
        _log.warning(
            "programs.keep_changing",
            begins_at=nodes[0].meta["genie"].place,
            programs=count,
            differs_at=nodes[min(index, len(nodes) - 1)].meta["genie"].place,
            difference=difference,
            advice="each new program costs its first sight: let the ops and their number be the "
            "same in each step; sizes and numbers may vary",
        )


def _step(node: torch.fx.Node) -> Step:
    operands: list[str] = []
    torch.fx.map_arg((node.args, node.kwargs), lambda node: operands.append(_operand(node)))
    return Step(node.meta["op"], tuple(operands))


def _operand(node: torch.fx.Node) -> str:
    geometry = node.meta.get("geometry")
    if not isinstance(geometry, Geometry):
        return "number"
    return f"{str(geometry.dtype).removeprefix('torch.')}[{len(geometry.size)}]"


def _is_alike(before: list[Step], steps: list[Step]) -> bool:
    """Whether half of one, at its ends, is the other's."""
    shorter = min(len(before), len(steps))
    first = _alike(before, steps, shorter)
    last = _alike(before[::-1], steps[::-1], shorter - first)
    return 2 * (first + last) >= shorter


def _alike(before: list[Step], steps: list[Step], most: int) -> int:
    """How many of the first ones are equal."""
    pairs = zip(before[:most], steps, strict=False)
    return next((count for count, (old, new) in enumerate(pairs) if old != new), most)


def _difference(before: list[Step], steps: list[Step]) -> tuple[int, str]:
    """Where two programs part, and how."""
    for index, (old, new) in enumerate(zip_longest(before, steps)):
        if old != new:
            return index, f"op {index} was {old or 'none'}, and is {new or 'none'}"
    return 0, "other numbers, or other tensors that are the same"


watch = Watch()
