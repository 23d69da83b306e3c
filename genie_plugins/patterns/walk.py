"""Ways through the analysis view, and sizes as numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch.fx

from genie_plugins.patterns.step import Step

Node = torch.fx.Node


def numbers(size: Iterable[Any]) -> tuple[int, ...]:
    """A size with the numbers of first sight for those that vary."""
    return tuple(s if isinstance(s, int) else s.meta.get("example", 0) for s in size)


def cone(
    ends: Iterable[Step], stop: Callable[[Step], bool], most: int = 1000, *, extras: bool = True
) -> set[Step]:
    """Steps that results depend on, ends included; not past those where `stop` says so.

    Without `extras`, not by biases and masks.
    """
    seen: set[Step] = set()
    todo = list(ends)
    while todo and len(seen) < most:
        step = todo.pop()
        if step not in seen and not stop(step):
            seen.add(step)
            todo += step.inputs if extras else step.operands
    return seen


def names(end: Step, most: int = 20) -> set[str]:
    """What the steps right above are called, `end` included."""
    return {step.name for step in cone([end], lambda _: False, most)}


def between(start: Step, end: Step) -> set[Step]:
    """Steps that compute `end`, `end` included, from `start`; without masks."""
    begin = start.index

    def stop(step: Step) -> bool:
        return step is start or step.static or step.name == "leaf" or step.index <= begin

    found: set[Step] = set()
    for step in sorted(cone([end], stop, 4000, extras=False), key=lambda step: step.index):
        if any(operand is start or operand in found for operand in step.operands):
            found.add(step)
    return found


def first(start: Step, wanted: Callable[[Step], bool], through: set[str]) -> Step | None:
    """The first wanted step that `start` is, or was computed from by ops `through`.

    Of what was put into or behind something older, the newer counts.
    """
    todo, seen = [start], set[Step]()
    while todo and len(seen) < 60:
        step = todo.pop()
        if step in seen or step.name == "leaf":
            continue
        seen.add(step)
        if wanted(step):
            return step
        if step.name in through:
            todo += [s for s in step.operands if not s.static or s.name != "leaf"]
    return None


def users(step: Step, wanted: Callable[[Step], bool], most: int = 60) -> Step | None:
    """The first wanted step that uses a step's result, directly or not."""
    todo, seen = list(step.users), {step}
    while todo and len(seen) < most:
        user = todo.pop(0)
        if user in seen:
            continue
        seen.add(user)
        if wanted(user):
            return user
        todo += user.users
    return None
