"""Changes to what is known of a node. `attrs.evolve` would do, but takes several times as long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from genie_core.graph import Semantics

if TYPE_CHECKING:
    import torch.fx

_NAMES = tuple(field.name for field in attrs.fields(Semantics))


def evolve(known: Semantics, **changes: Any) -> Semantics:
    """A copy of `known` with other values for some attributes."""
    return Semantics(*[changes[n] if n in changes else getattr(known, n) for n in _NAMES])


def change(node: torch.fx.Node, **changes: Any) -> None:
    """Change what is known of a node."""
    known: Semantics = node.meta["genie"]
    if any(getattr(known, name) != value for name, value in changes.items()):
        node.meta["genie"] = evolve(known, **changes)
