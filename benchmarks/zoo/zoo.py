"""All entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import further_models, negatives, plain_models, transformers_models

if TYPE_CHECKING:
    from .entry import Entry

ENTRIES: tuple[Entry, ...] = (
    transformers_models.ENTRIES
    + plain_models.ENTRIES
    + further_models.ENTRIES
    + negatives.NEGATIVES
)
