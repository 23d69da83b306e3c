"""Embeddings, their bags, interactions of features, losses of classes."""

from __future__ import annotations

import torch
import torch.fx
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor


def patterns() -> list[Pattern]:
    """Lookups, their interaction, cross-entropy."""
    return [
        Pattern("embedding", [_embedding], _lookup),
        Pattern("embedding_bag", [_bag], _lookup),
        Pattern("feature_interaction", [_dot, _dot_indexed], _features, _of_itself),
        Pattern("softmax_cross_entropy", [_cross_entropy, _gathered, _indexed, _smooth], _loss),
    ]


def _lookup() -> tuple[object, ...]:
    return torch.empty(5, 4), torch.zeros(2, 3, dtype=torch.int64)


def _embedding(table: T, index: T) -> T:
    return F.embedding(index, table)


def _bag(table: T, index: T) -> T:
    return F.embedding_bag(index, table, mode="sum")


def _features() -> tuple[object, ...]:
    return (torch.empty(2, 3, 4),)


def _dot(x: T) -> T:
    return torch.bmm(x, x.transpose(1, 2))


def _dot_indexed(x: T) -> T:
    rows, columns = torch.tril_indices(3, 3, -1)
    return torch.bmm(x, x.transpose(1, 2))[:, rows, columns]


def _of_itself(match: Match) -> bool:
    """Whether feature vectors that were put side by side are multiplied with each other."""
    node = match.inputs["x"]
    base = node if "op" in node.meta else node.args[0]
    name: str = base.meta.get("op", "") if isinstance(base, torch.fx.Node) else ""
    return name.startswith(("aten::cat", "aten::stack"))


def _loss() -> tuple[object, ...]:
    return torch.empty(3, 5), torch.zeros(3, dtype=torch.int64)


def _cross_entropy(logits: T, target: T) -> T:
    return F.cross_entropy(logits, target)


def _gathered(logits: T, target: T) -> T:
    return -F.log_softmax(logits, -1).gather(-1, target[:, None]).squeeze(-1).mean()


def _indexed(logits: T, target: T) -> T:
    return -F.log_softmax(logits, -1)[torch.arange(3), target].mean()


def _smooth(logits: T, target: T) -> T:
    return -(F.log_softmax(logits, -1) * F.one_hot(target, 5)).sum(-1).mean()
