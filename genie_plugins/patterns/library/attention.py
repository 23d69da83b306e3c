"""Attention, and rotations of its queries and keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.fx
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern
from genie_plugins.patterns.walk import numbers

T = torch.Tensor


def patterns() -> list[Pattern]:
    """Attention and RoPE."""
    products: list[Callable[..., T]]
    products = [_fused, _both_scaled, _query_scaled, _key_scaled, _manual]
    ropes: list[Callable[..., T]]
    ropes = [_rotated_half, _rotated_pairs, _halves, _pairs]
    ropes += [_rolled, _rolled_signed, _written_halves]
    return [
        Pattern("attention", products, _heads),
        Pattern("rope", ropes, _rotation, _turns_heads),
        Pattern("rope", [_complex], _complex_rotation, _turns),
    ]


def _heads() -> tuple[object, ...]:
    return *(torch.empty(2, 2, 3, 4) for _ in range(3)), 0.0123, 0.0321


def _fused(q: T, k: T, v: T) -> T:
    return F.scaled_dot_product_attention(q, k, v)


def _manual(q: T, k: T, v: T) -> T:
    """What scales, masks or drops scores belongs to the softmax, in the analysis view."""
    return torch.softmax(q @ k.transpose(-1, -2), -1) @ v


def _query_scaled(q: T, k: T, v: T, scale: float) -> T:
    return torch.softmax((q * scale) @ k.transpose(-1, -2), -1) @ v


def _key_scaled(q: T, k: T, v: T, scale: float) -> T:
    return torch.softmax(q @ (k.transpose(-1, -2) * scale), -1) @ v


def _both_scaled(q: T, k: T, v: T, scale: float, key_scale: float) -> T:
    return torch.softmax((q * scale) @ (k.transpose(-1, -2) * key_scale), -1) @ v


def _turns_heads(match: Match) -> bool:
    """Whether there is more than one pair of features to each position.

    What is rolled is by half of the features, if anything is.
    """
    size = numbers(match.inputs["x"].meta["geometry"].size)
    if len(size) < 3 or size[-1] < 2:
        return False
    for node in match.nodes:
        if node.meta["op"].startswith("aten::roll"):
            shifts: Any = node.args[1]
            if [abs(shift) * 2 for shift in shifts] != [size[-1]]:
                return False
    return True


# RoPE ----------------------------------------------------------------------------------------


def _rotation() -> tuple[object, ...]:
    return torch.empty(2, 2, 3, 4), torch.empty(3, 4), torch.empty(3, 4)


def _rotated_half(x: T, cos: T, sin: T) -> T:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat([-right, left], -1) * sin


def _rotated_pairs(x: T, cos: T, sin: T) -> T:
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], -1)
    return x * cos + turned.flatten(-2) * sin


def _halves(x: T, cos: T, sin: T) -> T:
    left, right = x.chunk(2, -1)
    cos, sin = cos[..., :2], sin[..., :2]
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


def _pairs(x: T, cos: T, sin: T) -> T:
    left, right = x[..., ::2], x[..., 1::2]
    cos, sin = cos[..., :2], sin[..., :2]
    return torch.stack([left * cos - right * sin, left * sin + right * cos], -1).flatten(-2)


def _rolled(x: T, cos: T, sin: T) -> T:
    return x * cos + x.roll(2, -1) * sin


def _rolled_signed(x: T, cos: T, sin: T) -> T:
    sin = sin[..., :2]
    return x * cos + x.roll(2, -1) * torch.cat([-sin, sin], -1)


def _written_halves(x: T, cos: T, sin: T) -> T:
    left, right = x.chunk(2, -1)
    cos, sin = cos[..., :2], sin[..., :2]
    turned = torch.empty_like(x)
    turned[..., :2] = left * cos - right * sin
    turned[..., 2:] = right * cos + left * sin
    return turned


def _complex_rotation() -> tuple[object, ...]:
    return torch.empty(2, 2, 3, 4), torch.empty(3, 2, dtype=torch.complex64)


def _complex(x: T, turn: T) -> T:
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(-2)


def _turns(match: Match) -> bool:
    """Whether pairs of features are multiplied as complex numbers: numbers that are none else."""
    x = match.inputs["x"]
    base = x.args[0] if x.args and "op" not in x.meta else x
    computed = isinstance(base, torch.fx.Node) and "op" in base.meta and _is_complex(base)
    return not computed and _is_complex(x) and _is_complex(match.inputs["turn"])


def _is_complex(node: torch.fx.Node) -> bool:
    known = node.meta.get("geometry") or node.meta["outputs"][0][2]
    return bool(known.dtype.is_complex)
