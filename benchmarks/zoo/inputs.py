"""What goes into the zoo's models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

VOCABULARY = 61


def tokens(*shape: int) -> torch.Tensor:
    """Token ids, none of them special."""
    return torch.randint(2, VOCABULARY, shape, generator=torch.Generator().manual_seed(4))


def numbers(*shape: int) -> torch.Tensor:
    """Normally distributed floats."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


def text(count: int) -> Mapping[str, Any]:
    """Sentences that a model is to continue."""
    ids = tokens(count, 10)
    return {"input_ids": ids, "labels": ids}


def padded(count: int) -> Mapping[str, Any]:
    """Sentences, the last of them shorter."""
    ids = tokens(count, 10)
    mask = torch.ones_like(ids)
    mask[-1, :3] = 0
    return {"input_ids": ids, "attention_mask": mask, "labels": ids}


def classified(count: int) -> Mapping[str, Any]:
    """Sentences with a class each."""
    return {"input_ids": tokens(count, 9), "labels": torch.arange(count) % 3}


def translated(count: int) -> Mapping[str, Any]:
    """Sentences and what they become."""
    return {"input_ids": tokens(count, 9), "labels": tokens(count, 7).flip(0)}


def pictures(count: int) -> Mapping[str, Any]:
    """Images and their classes."""
    return {"pixel_values": numbers(count, 3, 32, 32), "labels": torch.arange(count) % 3}


def speech(count: int) -> Mapping[str, Any]:
    """Mel spectrograms, and what was said."""
    return {"input_features": numbers(count, 16, 40), "labels": tokens(count, 6)}


def images(count: int) -> Mapping[str, Any]:
    """Images of 16 by 16."""
    return {"x": numbers(count, 3, 16, 16)}


def rows(count: int) -> Mapping[str, Any]:
    """Vectors."""
    return {"x": numbers(count, 16)}


def sequences(count: int) -> Mapping[str, Any]:
    """Sequences of vectors."""
    return {"x": numbers(count, 6, 16)}


def ids(count: int) -> Mapping[str, Any]:
    """Sequences of tokens."""
    return {"x": tokens(count, 7)}
