"""Mixtures of experts."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor


def patterns() -> list[Pattern]:
    """Choices of experts."""
    spellings = [_softmax_topk, _topk_softmax, _sigmoid_topk, _softmax_max]
    return [Pattern("moe_routing", spellings, _examples, _of_few)]


def _examples() -> tuple[object, ...]:
    return torch.empty(6, 4), torch.empty(3, 4)


def _softmax_topk(x: T, weight: T) -> T:
    return torch.softmax(F.linear(x, weight), -1).topk(2, -1).values


def _topk_softmax(x: T, weight: T) -> T:
    return torch.softmax(F.linear(x, weight).topk(2, -1).values, -1)


def _sigmoid_topk(x: T, weight: T) -> T:
    return torch.sigmoid(F.linear(x, weight)).topk(2, -1).values


def _softmax_max(x: T, weight: T) -> T:
    return torch.softmax(F.linear(x, weight), -1).max(-1).values


def _of_few(match: Match) -> bool:
    """Whether it chooses among fewer than the width of what is routed: tokens are many."""
    weight, x = (match.inputs[name].meta["geometry"].size for name in ("weight", "x"))
    return bool(x) and all(isinstance(s, int) for s in (*weight, x[-1])) and min(weight) < x[-1]
