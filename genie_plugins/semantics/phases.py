"""Phases of inference: eval, or with a key-value cache, prefill and decode."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from genie_plugins.semantics.meaning import change
from genie_plugins.semantics.modules import is_backward
from genie_plugins.semantics.origin import origin_of

if TYPE_CHECKING:
    from genie_core.graph import Mark
    from genie_plugins.semantics.caches import Caches
    from genie_plugins.semantics.flow import Flow

_CACHED = ("prefill", "decode")


def tell(flow: Flow, caches: Caches) -> None:
    """Refine `phase`, which says forward, backward or optimizer."""
    for call in _calls(flow):
        seen = [caches.phases[index] for index in call if index in caches.phases]
        for index in call:
            node = flow.ops[index]
            phase = _phase(node.meta["mark"], seen)
            change(node, phase=phase)


def _calls(flow: Flow) -> Iterator[list[int]]:
    """The ops in runs of one root's: the calls of a generation have ops of its own between them."""

    def root(index: int) -> str:
        return origin_of(flow.ops[index].meta["mark"]).root

    for _, call in groupby(range(len(flow.ops)), root):
        yield list(call)


def _phase(mark: Mark, seen: list[str]) -> str:
    """`seen` is what the call's attention says."""
    if mark.context.phase:
        return mark.context.phase
    if is_backward(mark):
        return "backward"
    origin = origin_of(mark)
    if not origin.inference:
        return "forward"
    if origin.cached and origin.length != 1:
        return "prefill"
    return seen[0] if seen else "decode" if origin.cached else "eval"


def part(flow: Flow) -> None:
    """Have prefill and decode be programs of their own, from the next time on."""
    phase = ""
    for node in flow.ops:
        found = node.meta["genie"].phase
        if found in _CACHED and found != phase:
            if phase:
                node.meta["begins"] = True
                return
            phase = found
