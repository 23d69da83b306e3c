"""Attention by hand, in many spellings; each takes (batch, length, width), and is causal or not."""

from __future__ import annotations

import math

import torch
from torch import nn

WIDTH, HEADS = 16, 2
DEPTH = WIDTH // HEADS


class Projections(nn.Module):
    """What the spellings share: projections into heads, (batch, heads, length, depth), and back."""

    def __init__(self, kv_heads: int = HEADS) -> None:
        super().__init__()
        self.q, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.k, self.v = (nn.Linear(WIDTH, kv_heads * DEPTH) for _ in range(2))

    def split(self, x: torch.Tensor, context: torch.Tensor | None = None) -> list[torch.Tensor]:
        """Queries of `x`, keys and values of `context`, or of `x` too."""
        context = x if context is None else context
        return [heads(self.q(x)), heads(self.k(context)), heads(self.v(context))]

    def merge(self, mixed: torch.Tensor) -> torch.Tensor:
        """Heads to what the next layer reads."""
        joined: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined


def heads(x: torch.Tensor) -> torch.Tensor:
    """(batch, length, heads × depth) to (batch, heads, length, depth)."""
    split: torch.Tensor = x.unflatten(-1, (-1, DEPTH))
    return split.transpose(1, 2)


def causal(x: torch.Tensor) -> torch.Tensor:
    """(length, length), True where a position may look."""
    length = x.shape[1]
    return torch.ones(length, length, dtype=torch.bool, device=x.device).tril()


class EinsumAttention(Projections):
    """Products by einsum, queries scaled before, an additive mask."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        scores = torch.einsum("bhqd,bhkd->bhqk", q * DEPTH**-0.5, k)
        bias = torch.zeros_like(scores[0, 0]).masked_fill(~causal(x), -1e4)
        weights = (scores + bias).softmax(-1)
        return self.merge(torch.einsum("bhqk,bhkd->bhqd", weights, v))


class BaddbmmAttention(Projections):
    """The mask, the scale and the first product in one `baddbmm`."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        q, k, v = (part.flatten(0, 1) for part in self.split(x))
        bias = torch.full((length, length), -1e4, dtype=x.dtype, device=x.device).triu(1)
        scores = torch.baddbmm(bias.expand(len(q), -1, -1), q, k.mT, alpha=DEPTH**-0.5)
        mixed = torch.bmm(torch.softmax(scores, dim=2), v)
        return self.merge(mixed.view(batch, HEADS, length, DEPTH))


class UpcastAttention(Projections):
    """Softmax in float64, or float32 of a half model; positions ahead far below."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        scores = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(DEPTH)
        scores = scores + torch.full_like(scores[0, 0], -1e4).triu(1)
        wide = torch.float64 if x.dtype == torch.float32 else torch.float32
        weights = torch.softmax(scores, -1, dtype=wide).to(x.dtype)
        return self.merge(torch.matmul(weights, v))


class MaskedFillAttention(Projections):
    """`masked_fill` with minus infinity, dropout on the weights, a fused projection."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.drop = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (heads(part) for part in self.qkv(x).chunk(3, dim=-1))
        scores = (q @ k.mT).mul(1 / math.sqrt(DEPTH))
        scores = scores.masked_fill(causal(x).logical_not(), float("-inf"))
        return self.merge(self.drop(scores.softmax(dim=-1)) @ v)


class RootScaledAttention(Projections):
    """Queries and keys each scaled by the fourth root, as some do for half precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        root = DEPTH**-0.25
        scores = (q * root) @ (k * root).transpose(2, 3)
        weights = torch.where(causal(x), scores, scores.new_tensor(-1e4)).softmax(-1)
        return self.merge(weights @ v)


class GroupedAttention(Projections):
    """One key and value head for all queries, by broadcasting."""

    def __init__(self) -> None:
        super().__init__(kv_heads=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        scores = (q @ k.transpose(-2, -1) * DEPTH**-0.5).masked_fill(~causal(x), -1e4)
        return self.merge(torch.softmax(scores, -1) @ v)


class AlibiAttention(Projections):
    """Scores with a bias linear in the distance."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        places = torch.arange(x.shape[1], device=x.device, dtype=x.dtype)
        slopes = torch.tensor([2.0 ** -(4 * i + 4) for i in range(HEADS)], dtype=x.dtype)
        bias = slopes.to(x.device)[:, None, None] * (places[None, :] - places[:, None])
        scores = q @ k.mT / math.sqrt(DEPTH) + bias
        return self.merge(scores.masked_fill(~causal(x), -1e4).softmax(-1) @ v)


class WindowMask(nn.Module):
    """(length, length), True for the last few positions up to one's own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        places = torch.arange(x.shape[1], device=x.device)
        distance = places[:, None] - places[None, :]
        return (distance >= 0) & (distance < 3)


class WindowAttention(Projections):
    """Attention to a window alone."""

    def __init__(self) -> None:
        super().__init__()
        self.mask = WindowMask()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        scores = (q @ k.mT / math.sqrt(DEPTH)).masked_fill(~self.mask(x), -1e4)
        return self.merge(scores.softmax(-1) @ v)


class FusedAttention(Projections):
    """torch's own function."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        return self.merge(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))


class Rotation(nn.Module):
    """Rotary positions by complex numbers, (batch, heads, length, depth)."""

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        turn = torch.polar(torch.ones_like(angles), angles)
        pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
        return torch.view_as_real(pairs * turn).flatten(-2).to(x.dtype)


class InterleavedRotation(nn.Module):
    """Rotary positions with even and odd coordinates as pairs."""

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        even, odd = x[..., ::2], x[..., 1::2]
        turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
        return turned.flatten(-2)


class RotaryAttention(Projections):
    """torch's own function after rotations."""

    def __init__(self, rotation: type[nn.Module]) -> None:
        super().__init__()
        self.rotation = rotation()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        rates = 1e-2 ** (torch.arange(0, DEPTH, 2, device=x.device) / DEPTH)
        angles = torch.arange(x.shape[1], device=x.device)[:, None] * rates
        q, k = self.rotation(q, angles), self.rotation(k, angles)
        return self.merge(nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True))


class CrossAttention(Projections):
    """Attention of one sequence to another, by hand."""

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x, context)
        return self.merge(torch.softmax(q @ k.mT / math.sqrt(DEPTH), -1) @ v)


class ExponentialAttention(Projections):
    """Softmax as what it is: exponentials over their sum."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        weights = torch.exp(q @ k.mT / math.sqrt(DEPTH))
        return self.merge(weights / weights.sum(-1, keepdim=True) @ v)
