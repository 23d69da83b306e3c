"""Batch norm of a convolution in its weights, at inference."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
import torch.fx

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements.recorded import Recorded, size

Node = torch.fx.Node
T = torch.Tensor

WORTH = 4
"""How many numbers a result has at least for each of the weights, which are folded in each run."""


def _folded(
    x: T,
    weight: T,
    mean: T,
    variance: T,
    eps: float,
    options: tuple[object, ...],
    bias: T | None = None,
    scale: T | None = None,
    shift: T | None = None,
) -> T:
    factor = torch.rsqrt(variance + eps)
    if scale is not None:
        factor = factor * scale
    offset = -mean * factor if bias is None else (bias - mean) * factor
    if shift is not None:
        offset = offset + shift
    folded = weight * factor.reshape(-1, *(1 for _ in weight.shape[1:]))
    result: T = torch.ops.aten.convolution.default(x, folded, offset, *options)
    return result


PATTERN = Pattern("conv_bn_act", (), tuple, replacement=_folded, tolerance=1e-4)


def read(match: Match) -> Match | None:
    """A convolution that only the batch norm reads, with the statistics of its training."""
    ops = Recorded(match.nodes)
    conv = ops.only("aten::convolution")
    norm = ops.only("aten::native_batch_norm")
    if conv is None or norm is None or norm.args[5] is not False:
        return None
    result = next((user for user in norm.users if user.args[1:] == (0,)), None)
    x, weight, bias, *options = conv.args
    transposed = options[3]
    if ops.maker(norm.args[0]) is not conv or transposed or result is None:
        return None
    if not _is_worth_it(conv, weight) or norm.args[3] is None or norm.args[4] is None:
        return None
    inputs = {"x": x, "weight": weight, "mean": norm.args[3], "variance": norm.args[4]}
    inputs |= {"bias": bias, "scale": norm.args[1], "shift": norm.args[2]}
    inputs = {name: node for name, node in inputs.items() if isinstance(node, Node)}
    told = {"eps": norm.args[7], "options": _fixed(options)}
    return Match(PATTERN, (conv, norm), inputs, (result,), told)  # type: ignore[arg-type]


def _is_worth_it(conv: Node, weight: object) -> bool:
    if not isinstance(weight, Node):
        return False
    made, own = size(conv), size(weight)
    if not all(isinstance(n, int) for n in (*made, *own)):
        return False
    return bool(prod(made) >= WORTH * prod(own))


def _fixed(options: Sequence[object]) -> tuple[object, ...]:
    """As a cache's key."""
    return tuple(tuple(one) if isinstance(one, list) else one for one in options)
