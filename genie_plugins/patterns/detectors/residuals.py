"""Residual additions, dropouts, MLPs of more than two layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_WORK = {"linear", "matmul", "sdpa", "conv"}
_GATES = {"sigmoid", "tanh"}
_BRANCHES = {"conv", "batch_norm", "act", "item", "linear", "layer_norm", "mul", "sigmoid"}
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
    if len(add.operands) != 2 or add.core is not add:
        return None
    left, right = add.operands
    if left.static or right.static:
        return None
    for source, result in ((left, right), (right, left)):
        if source.index < result.index and _computed(result, source):
            return source
    return _branched(left, right)


def _computed(result: Step, source: Step) -> bool:
    """Whether `result` was computed from `source`, and not by arithmetic alone."""
    todo: list[tuple[Step, bool]] = [(result, False)]
    seen: set[tuple[Step, bool]] = set()
    while todo:
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
    """Where two convolutional branches part: a shortcut may have a convolution of its own."""
    one, other = _branch(left), _branch(right)
    common = [step for step in one if step in other]
    if not common or not all(any(s.name == "conv" for s in path) for path in (one, other)):
        return None
    return max(common, key=lambda step: step.index)


def _branch(step: Step) -> list[Step]:
    path = [step]
    while step.name in _BRANCHES and step.operands and len(path) < 24:
        step = step.operands[0]
        path.append(step)
    return path
