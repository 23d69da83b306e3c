"""Norms of several ops as PyTorch's one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements.recorded import Recorded, number, size

Node = torch.fx.Node
T = torch.Tensor


def _layer(x: T, eps: float, weight: T | None = None, bias: T | None = None) -> T:
    return F.layer_norm(x, x.shape[-1:], weight, bias, eps)


def _rms(x: T, eps: float, weight: T | None = None) -> T:
    return F.rms_norm(x, x.shape[-1:], weight, eps)  # type: ignore[attr-defined, unused-ignore]


LAYER = Pattern("layer_norm", (), tuple, replacement=_layer, tolerance=1e-4)
RMS = Pattern(
    "rms_norm", (), tuple, replacement=_rms if hasattr(F, "rms_norm") else None, tolerance=1e-4
)

_CENTERED = Counter(
    {"aten::mean.dim": 1, "aten::sub.Tensor": 1, "aten::add.Tensor": 1, "aten::var.correction": 1}
)
_RESCALED = [
    Counter({"aten::sqrt": 1, "aten::div.Tensor": 1}),
    Counter({"aten::rsqrt": 1, "aten::mul.Tensor": 1}),
]
_SQUARED = Counter(
    {"aten::pow.Tensor_Scalar": 1, "aten::mean.dim": 1, "aten::add.Tensor": 1}
) + Counter({"aten::rsqrt": 1, "aten::mul.Tensor": 1})
_WEIGHT = Counter({"aten::mul.Tensor": 1})
_BIAS = Counter({"aten::add.Tensor": 1})


def read_layer(match: Match) -> Match | None:
    """(x - mean) / sqrt(var + eps), by itself, or times a weight, plus a bias."""
    names = Counter(node.meta["op"] for node in match.nodes)
    for rescaled in _RESCALED:
        plain = _CENTERED + rescaled
        if names in (plain, plain + _WEIGHT, plain + _WEIGHT + _BIAS):
            return _read_layer(match, Recorded(match.nodes))
    return None


def _read_layer(match: Match, ops: Recorded) -> Match | None:
    mean, variance, sub = (
        ops.only(name) for name in ("aten::mean.dim", "aten::var.correction", "aten::sub.Tensor")
    )
    root = ops.only("aten::sqrt", "aten::rsqrt")
    if mean is None or variance is None or sub is None or root is None:
        return None
    x, plus = mean.args[0], ops.maker(root.args[0])
    if not (variance.args[0] is x and sub.args[0] is x and ops.maker(sub.args[1]) is mean):
        return None
    if variance.kwargs.get("correction") != 0 or not variance.kwargs.get("keepdim"):
        return None
    if plus is None or ops.maker(plus.args[0]) is not variance or not _over_last(mean, variance):
        return None
    normed = next((n for n in match.nodes if sub in n.all_input_nodes), None)
    if normed is None or _other(normed, sub) is not root:
        return None
    return _affine(LAYER, match, x, number(plus.args[1]), normed)


def read_rms(match: Match) -> Match | None:
    """x · rsqrt(mean(x²) + eps), by itself or times a weight."""
    names = Counter(node.meta["op"] for node in match.nodes)
    if RMS.replacement is None or names not in (_SQUARED, _SQUARED + _WEIGHT):
        return None
    ops = Recorded(match.nodes)
    power, mean, root = (
        ops.only(name) for name in ("aten::pow.Tensor_Scalar", "aten::mean.dim", "aten::rsqrt")
    )
    plus = ops.only("aten::add.Tensor")
    if power is None or mean is None or root is None or plus is None:
        return None
    x = power.args[0]
    chained = ops.maker(mean.args[0]) is power and ops.maker(plus.args[0]) is mean
    if not chained or ops.maker(root.args[0]) is not plus or number(power.args[1]) != 2:
        return None
    normed = next((n for n in match.nodes if root in n.all_input_nodes), None)
    if normed is None or _other(normed, root) is not x or not _over_last(mean):
        return None
    return _affine(RMS, match, x, number(plus.args[1]), normed)


def _over_last(*nodes: Node) -> bool:
    """Whether they take their means over the last dimension, and keep it."""
    for node in nodes:
        rank = len(size(node.args[0]))  # type: ignore[arg-type]
        if node.args[1] not in ([-1], [rank - 1]) or len(size(node)) != rank:
            return False
    return True


def _other(node: Node, one: Node) -> Any:
    """The other operand of an op of two."""
    if len(node.args) < 2:
        return None
    return node.args[1] if node.args[0] is one else node.args[0]


def _affine(pattern: Pattern, match: Match, x: Any, eps: Any, normed: Node) -> Match | None:
    """What the norm is multiplied with, and what is added."""
    inputs = {"x": x}
    last = normed
    for name, op in (("weight", "aten::mul.Tensor"), ("bias", "aten::add.Tensor")):
        nexts = [n for n in match.nodes if last in n.all_input_nodes and n.meta["op"] == op]
        if nexts:
            inputs[name] = _other(nexts[0], last)
            last = nexts[0]
    width = size(x)[-1:]
    own = [inputs[name] for name in ("weight", "bias") if name in inputs]
    if eps is None or last is not match.nodes[-1] or any(_wide(one) != width for one in own):
        return None
    return Match(pattern, match.nodes, inputs, (last,), {"eps": float(eps)})


def _wide(one: Any) -> Any:
    return size(one) if isinstance(one, Node) and "geometry" in one.meta else None
