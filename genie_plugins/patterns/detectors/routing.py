"""Choices of experts, with noise, biases or masks between scores and choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.step import Step
from genie_plugins.patterns.walk import numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.view import View

_CHANCES = {"softmax", "sigmoid"}
_BETWEEN = _CHANCES | {"add", "sub", "mul", "div", "masked_fill", "where", "act", "log_softmax"}
_AFTER = {"item", "masked_fill", "where", "lt", "ge", "gt", "le", "scatter", "index_put", "mul"}
_LONGEST = 8


def choices(view: View, found: Families) -> Iterator[Found]:
    """The largest of a few scores, which become shares. What nobody uses is no choice, but a guess.

    Removes guesses that templates found.
    """
    last = view.steps[-1] if view.steps else None
    ones = found.get("moe_routing", [])
    ones[:] = [one for one in ones if one.end is not last or one.end.name == "softmax"]
    known = {step for one in ones for step in one.steps}
    for step in view.steps:
        if step.name == "topk" and step not in known and step.users:
            path = _scored(step)
            chances = [s for s in path if s.name in _CHANCES] or _shares(step)
            if path and chances:
                yield detected("moe_routing", {*path, step, *chances})


def _scored(choice: Step) -> list[Step]:
    """The steps back to the map that scores; none where that is not how scores are made."""
    path: list[Step] = []
    step = choice.operands[0]
    while len(path) < _LONGEST:
        path.append(step)
        if step.name == "linear":
            return path if _is_of_few(step) else []
        inner = [operand for operand in step.operands if not operand.static]
        if step.name not in _BETWEEN or not inner:
            return []
        step = inner[0]
    return []


def _is_of_few(scores: Step) -> bool:
    """Whether there is more than one expert, and fewer than a token has features."""
    experts, features = numbers(scores.size)[-1:], numbers(scores.operands[0].size)[-1:]
    return bool(experts and features) and 1 < experts[0] < features[0]


def _shares(choice: Step) -> list[Step]:
    """The softmax that the chosen scores go into."""
    todo, seen = list(choice.users), set[Step]()
    while todo and len(seen) < _LONGEST:
        step = todo.pop(0)
        if step.name in _CHANCES:
            return [step]
        if step.name in _AFTER and step not in seen:
            seen.add(step)
            todo += step.users
    return []
