"""What is a pooling of all positions, however it is spelled."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from genie_plugins.patterns.step import Value
from genie_plugins.patterns.walk import numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step

_POOLS = ("mean", "sum", "amax", "max", "avg_pool", "adaptive_", "_adaptive_", "max_pool")


def is_pool(step: Step) -> bool:
    """Whether a value of each channel, of all positions, is left: (…, channels, *positions)."""
    if not step.name.startswith(_POOLS) or not step.values or type(step.values[0]) is not Value:
        return False
    geometry = step.values[0].geometry
    if geometry is None or len(geometry.size) < 3 or step.operands[0].name == "embedding":
        return False
    given, left = numbers(geometry.size), numbers(step.size)
    count = math.prod(left)
    if count not in (given[0] * given[1], given[0] * given[-1]) or not count:
        return False
    return _keeps(given, left)


def _keeps(given: tuple[int, ...], left: tuple[int, ...]) -> bool:
    """Whether the sizes that are left, but ones, are the batch's and the channels'."""
    wanted = [size for size in (given[0], given[1]) if size != 1]
    other = [size for size in (given[0], given[-1]) if size != 1]
    return [size for size in left if size != 1] in (wanted, other)
