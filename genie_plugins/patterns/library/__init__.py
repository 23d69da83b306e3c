"""Genie's own patterns, by family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_plugins.patterns.library import (
    adapters,
    attention,
    convolutions,
    embeddings,
    mlp,
    norms,
    recurrent,
    routing,
)

if TYPE_CHECKING:
    from genie_core import Pattern


def patterns() -> list[Pattern]:
    """All of them."""
    parts = (norms, attention, mlp, embeddings, convolutions, recurrent, routing, adapters)
    return [pattern for part in parts for pattern in part.patterns()]
