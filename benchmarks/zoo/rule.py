"""What a rule says of a call: which of its ops are an instance of a family."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Literal

import attrs

from .calls import Call, call_of
from .truth import Instance, Ran

Names = frozenset[str]
Pick = Callable[[Ran, Call, list[int]], Sequence[list[int]]]
"""Makes of a call's candidates the ops of each instance."""


def names(text: str) -> Names:
    """The words of a text."""
    return frozenset(text.split())


def whole(_: Ran, __: Call, ops: list[int]) -> list[list[int]]:
    """All candidates are one instance."""
    return [ops]


DROPOUT = "dropout"


@attrs.frozen
class Rule:
    """A rule for calls of which `calls` matches the name, and `path` is found in the path.

    Dropout's own ops are of no other rule.

    Candidates are the ops named in `core` that the call recorded itself; where `inside` is given,
    those of it and its submodules whose path below the call's matches `inside`. `pick` makes
    instances of them. The other ops of the call and of those that it made (where `inside` is given,
    of those that match it) are open; with `open` "between", those between an instance's first and
    last; with "none", none.

    Without one of each set in `needs`, or where `when` says no, or without `core`, nothing is
    decided: all is open.
    """

    family: str
    calls: str
    core: Names = frozenset()
    inside: str | None = None
    path: str = ""
    needs: tuple[Names, ...] = ()
    pick: Pick = whole
    when: Callable[[Call], bool] = lambda _: True
    open: Literal["below", "between", "none"] = "below"

    def applies(self, call: Call) -> bool:
        """Whether it has something to say of this call."""
        if call.kind == "run" or not _compiled(self.calls).fullmatch(call.name):
            return False
        return _compiled(self.path).search(call.path) is not None

    def instances(self, ran: Ran, call: Call) -> Iterator[Instance]:
        """The instances of a call that it applies to; one without core says what is open."""
        below = self._region(ran, call)
        own = below if self.inside is not None else ran.own[call]
        ops = self._candidates(ran, own) if self.when(call) else []
        found = {ran.names[index] for index in ops}
        cores = self.pick(ran, call, ops) if ops else []
        if not any(cores) or any(found.isdisjoint(need) for need in self.needs):
            yield Instance(self.family, frozenset(), frozenset(below))
            return
        taken = {index for core in cores for index in core}
        for core in filter(None, cores):
            yield Instance(self.family, frozenset(core), self._open(below, core) - taken)

    def _candidates(self, ran: Ran, ops: list[int]) -> list[int]:
        found = ran.named(ops, self.core)
        return [i for i in found if self.calls == DROPOUT or not _drops(ran, i)]

    def _region(self, ran: Ran, call: Call) -> list[int]:
        if self.inside is None:
            return ran.below[call]
        inside = _compiled(self.inside)
        return [index for index in ran.below[call] if inside.match(_below(ran, call, index))]

    def _open(self, below: list[int], core: list[int]) -> frozenset[int]:
        match self.open:
            case "none":
                return frozenset()
            case "between":
                return frozenset(index for index in below if min(core) < index < max(core))
        return frozenset(below)


def _drops(ran: Ran, index: int) -> bool:
    call = call_of(ran.nodes[index])
    return call is not None and call.name == DROPOUT


@lru_cache(None)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)


def _below(ran: Ran, call: Call, index: int) -> str:
    """The path of an op's module, below the call's."""
    inner = call_of(ran.nodes[index])
    assert inner is not None
    path = next(outer for outer in inner.chain() if outer.kind == "module").path
    return path[len(call.path) :].lstrip(".") if path.startswith(call.path) else path
