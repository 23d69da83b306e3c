"""Logits by the weights of an embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import cone

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_MOST = 1 << 12
_tables: dict[Any, None] = {}


def tied_logits(view: View, found: Families) -> Iterator[Found]:
    """Products with a table that tokens are looked up in."""
    for step in view.steps:
        if step.name == "embedding" and not _is_nearest(step):
            _tables[_key(step.operands[0])] = None
    while len(_tables) > _MOST:
        del _tables[next(iter(_tables))]
    for step in view.steps:
        if step.name == "linear" and _key(step.operands[1]) in _tables:
            yield detected("tied_logits", [step])


def _is_nearest(lookup: Step) -> bool:
    """Whether a row is chosen by products with all rows: a codebook's."""
    table, *index = lookup.operands
    above = cone(index, lambda s: s.name in _LAYERS, 12)
    products = [s for one in above for s in one.operands if s.name == "linear"]
    return any(product.operands[1] is table for product in products)


_LAYERS = {"linear", "embedding", "leaf"}


def _key(table: Step) -> Any:
    return table.value or table
