"""Logits by the weights of an embedding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from genie_plugins.patterns.found import Families, Found, detected

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_MOST = 1 << 12
_tables: dict[Any, None] = {}


def tied_logits(view: View, found: Families) -> Iterator[Found]:
    """Products with a table that tokens are looked up in."""
    for step in view.steps:
        if step.name == "embedding":
            _tables[_key(step.operands[0])] = None
    while len(_tables) > _MOST:
        del _tables[next(iter(_tables))]
    for step in view.steps:
        if step.name == "linear" and _key(step.operands[1]) in _tables:
            yield detected("tied_logits", [step])


def _key(table: Step) -> Any:
    return table.value or table
