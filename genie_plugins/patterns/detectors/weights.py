"""Linear maps whose weights are made of integers, however many steps that takes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.library.adapters import is_packed
from genie_plugins.patterns.walk import cone, numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_SCALES = {"mul", "div"}
_FEWEST = 8
"""How many values a byte has at most: a smaller table of integers is none of weights."""


def quantized(view: View, found: Families) -> Iterator[Found]:
    """Maps by what was unpacked, looked up, shifted or scaled."""
    known = {step for one in found.get("quantized_linear", ()) for step in one.steps}
    for step in view.steps:
        if step.name == "linear" and step not in known:
            weight = step.operands[1]
            if weight.static and weight.name != "leaf":
                made = cone([weight], lambda s: not s.static, 40)
                if any(s.name in _SCALES for s in made) and any(_packs(s, weight) for s in made):
                    nodes = {s for s in made if s.name != "leaf" and s.index >= view.begin}
                    yield detected("quantized_linear", [*nodes, step])


def _packs(leaf: Step, weight: Step) -> bool:
    """Whether integers that were there before may be what a weight is made of."""
    if leaf.name != "leaf" or leaf.geometry is None or not is_packed(leaf.geometry.dtype):
        return False
    count = math.prod(numbers(leaf.size))
    return len(leaf.size) > 1 and count * _FEWEST >= math.prod(numbers(weight.size))
