"""Changes to what is known of a node. `attrs.evolve` would do, but takes several times as long."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs

from genie_core.graph import Semantics

if TYPE_CHECKING:
    import torch.fx

_values = attrgetter(*(field.name for field in attrs.fields(Semantics)))
_set = object.__setattr__  # a new one is nobody else's yet, so that writing to it harms no one


def evolve(known: Semantics, **changes: Any) -> Semantics:
    """A copy of `known` with other values for some attributes."""
    made = Semantics(*_values(known))
    for name, value in changes.items():
        _set(made, name, value)
    return made


def change(node: torch.fx.Node, **changes: Any) -> None:
    """Change what is known of a node, while its graph is annotated for the first time."""
    known: Semantics = node.meta["genie"]
    for name, value in changes.items():
        _set(known, name, value)
