"""Attention of several ops as PyTorch's one."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements.recorded import Recorded, number, size

Node = torch.fx.Node
T = torch.Tensor


def _fused(
    query: T,
    keys: T,
    value: T,
    scale: float,
    heads: tuple[int, int],
    *,
    mask: T | None = None,
    hidden: T | None = None,
    masked: T | None = None,
    fill: float = 0.0,
) -> T:
    """`keys` are the other way round, as a product takes them; heads and batch are one dimension.

    `mask` is added to scores; where `hidden` is, or `masked` is not, they are `fill`.
    """
    query, keys, value = (t.unflatten(0, heads) for t in (query, keys, value))
    if hidden is not None:
        mask = torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, fill)
    if masked is not None:
        filled = torch.full_like(masked, fill, dtype=query.dtype)
        mask = filled.masked_fill(masked, 0.0)
    found = F.scaled_dot_product_attention(
        query, keys.transpose(-1, -2), value, attn_mask=mask, scale=scale
    )
    return found.flatten(0, 1)


PATTERN = Pattern("attention", (), tuple, replacement=_fused, tolerance=1e-4)


def read(match: Match) -> Match | None:
    """Scores, scale, at most one mask, softmax, product: nothing else."""
    ops = Recorded(match.nodes)
    softmax = ops.only("aten::_softmax")
    products = ops.named("aten::bmm")
    if softmax is None or len(products) != 2 or softmax.args[1] not in (-1, 3) or softmax.args[2]:
        return None
    scores, mixed = products
    found: dict[str, Any] = {"scale": 1.0}
    chain = _scored(ops, softmax.args[0], scores, found)
    if chain is None or ops.maker(mixed.args[0]) is not softmax:
        return None
    if {scores, softmax, mixed, *chain} != set(match.nodes):
        return None
    shape = size(softmax)
    if len(shape) != 4 or not all(isinstance(n, int) for n in shape[:2]):
        return None
    return _match(scores, mixed, shape, found, match)


def _match(
    scores: Node, mixed: Node, shape: tuple[Any, ...], found: dict[str, Any], match: Match
) -> Match:
    inputs = {"query": scores.args[0], "keys": scores.args[1], "value": mixed.args[1]}
    inputs |= {name: node for name, node in found.items() if isinstance(node, Node)}
    literals = {name: value for name, value in found.items() if not isinstance(value, Node)}
    masks = [node for node in found.values() if isinstance(node, Node)]
    alike = all(n == 1 for mask in masks for n in size(mask)[:-2])
    literals["heads"] = (1, shape[0] * shape[1]) if alike else (shape[0], shape[1])
    return Match(PATTERN, match.nodes, inputs, (mixed,), literals)  # type: ignore[arg-type]


def _scored(ops: Recorded, argument: Any, scores: Node, found: dict[str, Any]) -> list[Node] | None:
    """The ops between the product and the softmax; `found` gets the scale and the mask."""
    chain: list[Node] = []
    while (node := ops.maker(argument)) is not scores:
        if node is None or not _one(node, found):
            return None
        chain.append(node)
        argument = node.args[1] if node.meta["op"].startswith("aten::where") else node.args[0]
    return chain


def _one(node: Node, found: dict[str, Any]) -> bool:
    name = node.meta["op"].partition(".")[0]
    if name in ("aten::mul", "aten::div"):
        factor = number(node.args[1])
        if not factor:
            return False
        found["scale"] *= factor if name == "aten::mul" else 1.0 / factor
        return True
    # A mask that is put on before the scores are scaled would be scaled with them.
    if {"mask", "hidden", "masked"} & set(found) or found["scale"] != 1.0:
        return False
    if name == "aten::add" and node.kwargs.get("alpha") == 1 and isinstance(node.args[1], Node):
        found["mask"] = node.args[1]
        return number(node.args[1]) is None
    if name == "aten::masked_fill":
        found["hidden"], found["fill"] = node.args[1], number(node.args[2])
    elif name == "aten::where":
        found["masked"], found["fill"] = node.args[0], number(node.args[2])
    return found.get("fill") is not None
