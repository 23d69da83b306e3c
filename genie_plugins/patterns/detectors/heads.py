"""Pooled features, and the linear map of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.detectors.pools import is_pool
from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import between, first, users

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_BETWEEN = {"layer_norm", "rms_norm", "batch_norm", "act", "item", "conv", "cat", "add", "mul"}
_BETWEEN |= {"div", "pow", "clamp"}


def heads(view: View, found: Families) -> Iterator[Found]:
    """Pooled features, and the linear map of them; what weighs channels by that is none."""
    inside = {s for one in found.get("squeeze_excite", ()) for s in one.steps}
    for step in view.steps:
        if step.name != "linear" or step in inside or step.operands[0].static:
            continue
        pool = first(step.operands[0], is_pool, _BETWEEN)
        if pool is not None and pool not in inside and not _gates(step, pool):
            yield detected("pooling_head", between(pool.operands[0], step))


def _gates(step: Step, pool: Step) -> bool:
    """Whether the map's result weighs what was pooled."""
    source = pool.operands[0]
    weighed = {user for user in source.users if user.name in ("mul", "matmul", "add")}
    return bool(weighed) and users(step, lambda s: s in weighed, 30) is not None
