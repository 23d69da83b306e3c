"""Convolutional parts that weigh or mix channels: squeeze-excite, depthwise-separable maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.detectors.pools import is_pool
from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_NORMS = {"batch_norm", "layer_norm", "group_norm", "rms_norm", "item"}
_SQUASHES = {"sigmoid", "hardsigmoid", "act", "clamp", "softmax", "tanh"}
_GATES = _SQUASHES | _NORMS | {"add", "mul", "div"}
_MEANS = {"mean", "sum", "avg_pool2d"}
_LONGEST = 16
_POINTWISE = _NORMS | {"act", "sigmoid", "tanh", "mul"}


def excitations(view: View, _: Families) -> Iterator[Found]:
    """Channels weighted by what maps make of their means."""
    for step in view.steps:
        if step.name == "mul" and len(step.operands) == 2:
            left, right = step.operands
            steps = _squeezed(left, right) or _squeezed(right, left)
            if steps:
                yield detected("squeeze_excite", [*steps, step], links={"x": _scaled(step)})


def _squeezed(x: Step, gate: Step) -> list[Step]:
    """The steps from a mean of `x` to `gate`; none where that is not how it is made."""
    if gate.name not in _SQUASHES | {"mul", "div"} or len(x.size) < 3 or x is gate:
        return []
    steps: list[Step] = []
    squashed, maps = False, 0
    step = gate
    while len(steps) < _LONGEST:
        steps.append(step)
        if is_pool(step):
            return steps if maps and _is_of(step, x, steps) else []
        if step.name in ("linear", "conv"):
            if not squashed or not _is_small(step):
                return []
            maps += 1
        elif step.name not in _GATES:
            return []
        squashed = squashed or step.name in _SQUASHES
        inner = [operand for operand in step.operands if not operand.static]
        if step.name not in ("linear", "conv", *_NORMS) and len(inner) != 1:
            return []
        if not inner:
            return []
        step = inner[0]
    return []


def _is_of(pool: Step, x: Step, steps: list[Step]) -> bool:
    """Whether a mean, perhaps of means, is of `x`."""
    source = pool.operands[0]
    while source.name in _MEANS and len(steps) < _LONGEST:
        steps.append(source)
        source = source.operands[0]
    return source is x or source.core is x.core


def _is_small(step: Step) -> bool:
    """Whether a map is of each point by itself."""
    size = numbers(step.operands[1].size)
    return step.name == "linear" or math.prod(size[2:]) == 1


def _scaled(product: Step) -> Step:
    """What a product scales: its larger operand."""
    left, right = product.operands
    return right if math.prod(numbers(right.size)) > math.prod(numbers(left.size)) else left


def separables(view: View, found: Families) -> Iterator[Found]:
    """A filter for each channel, then a map of each point; norms and weights may be between."""
    excited = {step for one in found.get("squeeze_excite", ()) for step in one.steps}
    for step in view.steps:
        if step.name == "conv" and _is_point(step):
            path = _from_depthwise(step)
            if path:
                yield detected("depthwise_separable", [s for s in path if s not in excited])


def _from_depthwise(point: Step) -> list[Step]:
    path = [point]
    step = point.operands[0]
    while len(path) < _LONGEST:
        path.append(step)
        if step.name == "conv":
            return path if _is_depthwise(step) else []
        if step.name not in _POINTWISE or not step.operands:
            return []
        is_product = step.name == "mul" and len(step.operands) == 2
        step = _scaled(step) if is_product else step.operands[0]
    return []


def _is_point(step: Step) -> bool:
    size = numbers(step.operands[1].size)
    return len(size) > 2 and math.prod(size[2:]) == 1 and size[1] > 1


def _is_depthwise(step: Step) -> bool:
    size = numbers(step.operands[1].size)
    geometry = step.values[0].geometry
    channels = numbers(geometry.size)[1] if geometry is not None and len(geometry.size) > 1 else 0
    return len(size) > 2 and size[1] == 1 and channels > 1 and math.prod(size[2:]) > 1
