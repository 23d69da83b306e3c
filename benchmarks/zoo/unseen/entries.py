"""All entries, and the truth of their graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import labels
from . import plain_models, transformers_models
from .rules import COMPOSITIONS, RULES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch.fx

    from ..entry import Entry
    from ..truth import Truth

ENTRIES: tuple[Entry, ...] = transformers_models.ENTRIES + plain_models.ENTRIES


def label(nodes: Sequence[torch.fx.Node]) -> Truth:
    """The truth of a graph, of which `nodes` are the recorded ops; their model has to live yet."""
    return labels.label(nodes, RULES, COMPOSITIONS)
