"""Residual additions, dropouts, MLPs of more than two layers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_WORK = {"linear", "matmul", "sdpa", "conv"}
_GATES = {"sigmoid", "tanh"}
_BRANCHES = {"conv", "batch_norm", "act", "item", "linear", "layer_norm", "mul", "sigmoid"}
_BRANCHES |= {"group_norm", "tanh"}
_RESIZES = ("avg_pool", "max_pool", "_adaptive", "adaptive", "upsample", "_upsample")
_MOST = 2000
_WHOLE = (
    "lstm_cell",
    "gru_cell",
    "rnn_cell",
    "lora",
    "attention",
    "layer_norm",
    "rms_norm",
    "rope",
)


def dropouts(view: View, found: Families) -> Iterator[Found]:
    """Every dropout."""
    for step in view.steps:
        if step.name == "dropout":
            yield detected("dropout", [step])


def residuals(view: View, found: Families) -> Iterator[Found]:
    """Sums of something and of what was computed from it."""
    new = [o for name in _WHOLE for o in found.get(name, ()) if o.end.index >= view.begin]
    inside = {step for one in new for step in one.steps}
    for step in view.steps:
        if step.name != "add" or step in inside or _is_gate(step):
            continue
        stream = stream_of(step)
        if stream is not None:
            yield detected("residual", [step], links={"stream": stream})


def _is_gate(add: Step) -> bool:
    """Whether a cell's gate is all that a sum is for."""
    return bool(add.users) and all(user.name in _GATES for user in add.users)


def stream_of(add: Step) -> Step | None:
    """What a sum's one operand is, and its other was computed from; None where there is none."""
    if len(add.operands) != 2:
        return None
    left, right = add.operands
    if _is_constant(left) or _is_constant(right):
        return None
    if add.core is not add and not (left.static or right.static):
        return None  # arithmetic
    for source, result in ((left, right), (right, left)):
        if source.index < result.index and _computed(result, source):
            return source
    for total, result in ((left, right), (right, left)):
        if total.name == "add" and any(_computed(result, s) for s in _sources(total)):
            return total  # x + f(x) + g(x)
    return _branched(left, right)


def _is_constant(step: Step) -> bool:
    """Whether nothing that is done with it can be what a sum adds to it: not so of learned rows."""
    if not step.static:
        return False
    rows = sum(size > 1 for size in numbers(step.size)) > 1
    return step.name != "leaf" or len(step.users) < 2 or not rows


def _sources(total: Step) -> list[Step]:
    """What a sum is of, if that is more than one activation and what was computed from it."""
    if len(total.operands) != 2:
        return []
    return [one for one, other in (total.operands, total.operands[::-1]) if _computed(other, one)]


def _computed(result: Step, source: Step) -> bool:
    """Whether `result` was computed from `source`, and not by arithmetic alone."""
    todo: list[tuple[Step, bool]] = [(result, False)]
    seen: set[tuple[Step, bool]] = set()
    while todo and len(seen) < _MOST:
        step, works = todo.pop()
        works = works or step.name in _WORK
        for operand in step.operands:
            if operand is source and works:
                return True
            way = (operand, works)
            if way not in seen and operand.index > source.index and operand.name != "leaf":
                seen.add(way)
                todo.append(way)
    return False


def _branched(left: Step, right: Step) -> Step | None:
    """Where two branches part, one with a convolution: a shortcut may have work of its own."""
    one, other = _branch(left), _branch(right)
    common = [step for step in one if step in other]
    if not common:
        return None
    start = max(common, key=lambda step: step.index)
    paths = [path[: path.index(start)] for path in (one, other)]
    works = [_works(path) for path in paths]
    alike = _depth(paths[0]) == _depth(paths[1])
    return start if all(works) and "conv" in works and not alike else None


def _depth(path: list[Step]) -> int:
    """How many convolutions and activations are on a way: a shortcut has fewer."""
    return sum(step.name in ("conv", "act") for step in path)


def _works(path: list[Step]) -> str:
    """What a branch does: blank for nothing that makes it one."""
    if any(step.name == "conv" for step in path):
        return "conv"
    return "resize" if any(step.name.startswith(_RESIZES) for step in path) else ""


def _branch(step: Step) -> list[Step]:
    path = [step]
    while (step.name in _BRANCHES or step.name.startswith(_RESIZES)) and len(path) < 40:
        if not step.operands:
            break
        step = max(step.operands[:2], key=_volume) if step.name == "mul" else step.operands[0]
        path.append(step)
    return path


def _volume(step: Step) -> int:
    return 0 if step.static else math.prod(numbers(step.size))
