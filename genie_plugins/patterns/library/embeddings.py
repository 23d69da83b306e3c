"""Embeddings, their bags, interactions of features, losses of classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.fx
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor


def patterns() -> list[Pattern]:
    """Lookups, their interaction, cross-entropy."""
    losses: list[Callable[..., T]]
    losses = [_cross_entropy, _gathered, _indexed, _smooth, _log_of_sum, _log_of_softmax]
    losses += [_after_softmax, _less_log_of_sum, _chosen_from_softmax]
    return [
        Pattern("embedding", [_embedding], _lookup),
        Pattern("embedding", [_chosen], _lookup, _of_weights),
        Pattern("embedding", [_selected], _row, _of_fixed),
        Pattern("embedding_bag", [_bag], _lookup),
        Pattern("embedding_bag", [_bag_by_sum, _bag_by_mean], _lookup, _over_the_bag),
        Pattern("feature_interaction", [_dot], _features, _of_itself),
        Pattern("feature_interaction", [_dot_indexed], _indexed_features, _of_rows),
        Pattern("feature_interaction", [_squares_halved, _squares], _features, _of_rows),
        Pattern("softmax_cross_entropy", losses, _loss),
        Pattern("softmax_cross_entropy", [_soft], _soft_loss, _of_targets),
    ]


def _lookup() -> tuple[object, ...]:
    return torch.empty(5, 4), torch.zeros(2, 3, dtype=torch.int64)


def _embedding(table: T, index: T) -> T:
    return F.embedding(index, table)


def _chosen(table: T, index: T) -> T:
    return table[index]


def _of_weights(match: Match) -> bool:
    """Whether rows of a parameter are chosen."""
    table = match.inputs["table"]
    base = table.args[0] if table.args else table
    known = base.meta.get("genie") if isinstance(base, torch.fx.Node) else None
    return known is not None and known.role == "weight" and len(table.meta["geometry"].size) == 2


def _row() -> tuple[object, ...]:
    return torch.empty(5, 4), torch.zeros(3, dtype=torch.int64)


def _selected(table: T, index: T) -> T:
    return table.index_select(0, index)


def _of_fixed(match: Match) -> bool:
    """Whether rows of a table are chosen that a model has, learned or not."""
    table = match.inputs["table"]
    base = table.args[0] if table.args else table
    known = base.meta.get("genie") if isinstance(base, torch.fx.Node) else None
    floats = table.meta["geometry"].dtype.is_floating_point
    dim = match.nodes[-1].args[1] if len(match.nodes[-1].args) > 1 else None
    fixed = known is not None and known.role in ("weight", "buffer")
    return bool(fixed and floats and len(table.meta["geometry"].size) == 2 and dim == 0)


def _bag_by_sum(table: T, index: T) -> T:
    return F.embedding(index, table).sum(1)


def _bag_by_mean(table: T, index: T) -> T:
    return F.embedding(index, table).mean(1)


def _over_the_bag(match: Match) -> bool:
    """Whether what is added up are a bag's rows: the dimension before the features."""
    found = match.nodes[-1]
    dims = found.args[1] if len(found.args) > 1 else None
    given = found.args[0].meta["geometry"].size  # type: ignore[union-attr]
    return len(given) == 3 and dims in ([1], [-2])


def _bag(table: T, index: T) -> T:
    return F.embedding_bag(index, table, mode="sum")


def _features() -> tuple[object, ...]:
    return (torch.empty(2, 3, 4),)


def _dot(x: T) -> T:
    return torch.bmm(x, x.transpose(1, 2))


def _indexed_features() -> tuple[object, ...]:
    return *_features(), *torch.tril_indices(3, 3, -1)


def _dot_indexed(x: T, rows: T, columns: T) -> T:
    return torch.bmm(x, x.transpose(1, 2))[:, rows, columns]


def _of_itself(match: Match) -> bool:
    """Whether feature vectors that were put side by side are multiplied with each other."""
    return _made_by(match.inputs["x"]).startswith(("aten::cat", "aten::stack"))


def _of_rows(match: Match) -> bool:
    """The same, or whether they were looked up side by side."""
    return _of_itself(match) or _made_by(match.inputs["x"]).startswith("aten::embedding")


def _made_by(node: torch.fx.Node) -> str:
    base = node if "op" in node.meta or not node.args else node.args[0]
    return base.meta.get("op", "") if isinstance(base, torch.fx.Node) else ""


def _squares(x: T) -> T:
    return x.sum(1).square() - x.square().sum(1)


def _squares_halved(x: T) -> T:
    return (x.sum(1).square() - x.square().sum(1)) * 0.5


def _loss() -> tuple[object, ...]:
    return torch.empty(3, 5), torch.zeros(3, dtype=torch.int64)


def _cross_entropy(logits: T, target: T) -> T:
    return F.cross_entropy(logits, target)


def _gathered(logits: T, target: T) -> T:
    return -F.log_softmax(logits, -1).gather(-1, target[:, None]).squeeze(-1)


def _indexed(logits: T, target: T) -> T:
    return -F.log_softmax(logits, -1)[torch.arange(3), target]


def _smooth(logits: T, target: T) -> T:
    return (F.log_softmax(logits, -1) * F.one_hot(target, 5)).sum(-1)


def _log_of_sum(logits: T, target: T) -> T:
    return logits.logsumexp(-1) - logits.gather(-1, target[:, None]).squeeze(-1)


def _log_of_softmax(logits: T, target: T) -> T:
    return -logits.softmax(-1).gather(-1, target[:, None]).log()


def _after_softmax(logits: T, target: T) -> T:
    return F.nll_loss(logits.softmax(-1).log(), target)


def _less_log_of_sum(logits: T, target: T) -> T:
    logs = logits - logits.logsumexp(-1, keepdim=True)
    return logs.gather(-1, target[:, None])


def _chosen_from_softmax(logits: T, target: T) -> T:
    return logits.softmax(-1)[torch.arange(3), target].log()


def _soft_loss() -> tuple[object, ...]:
    return torch.empty(3, 5), torch.empty(3, 5)


def _soft(logits: T, target: T) -> T:
    return (F.log_softmax(logits, -1) * target).sum(-1)


def _of_targets(match: Match) -> bool:
    """Whether what logarithms are weighed by is given: an entropy weighs them by their own."""
    made = _made_by(match.inputs["target"])
    return not made.startswith(("aten::_softmax", "aten::softmax", "aten::exp"))
