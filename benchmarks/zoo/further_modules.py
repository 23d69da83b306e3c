"""Plain modules in further spellings."""

from __future__ import annotations

import torch
from torch import nn

from .attentions import DEPTH, HEADS, WIDTH, Projections, causal

HIDDEN = 24


class GroupedEinsumAttention(Projections):
    """Queries in groups, each of which shares a key and a value head; no head is copied."""

    def __init__(self) -> None:
        super().__init__(kv_heads=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.q(x).unflatten(-1, (1, HEADS, DEPTH))
        k, v = (part(x).unflatten(-1, (1, DEPTH)) for part in (self.k, self.v))
        scores = torch.einsum("bqhgd,bkhd->bhgqk", q, k) * DEPTH**-0.5
        weights = scores.masked_fill(~causal(x), -1e4).softmax(-1)
        mixed = torch.einsum("bhgqk,bkhd->bqhgd", weights, v).flatten(2)
        found: torch.Tensor = self.out(mixed)
        return found


class ExponentialShiftedAttention(Projections):
    """Softmax by hand, safe from overflow; its sum divides what the values gave."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split(x)
        scores = q.matmul(k.mT).div(DEPTH**0.5).where(causal(x), -1e4)
        raised = (scores - scores.amax(-1, keepdim=True)).exp()
        return self.merge(raised.matmul(v) / raised.sum(-1, keepdim=True))


class NormalizeRmsNorm(nn.Module):
    """RMS norm as torch's unit vectors, made longer."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scaled: torch.Tensor = nn.functional.normalize(x, dim=-1) * WIDTH**0.5 * self.weight
        return scaled


class MatrixMLP(nn.Module):
    """Products with matrices, and a GELU by a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        self.widen = nn.Parameter(torch.randn(WIDTH, HIDDEN) / 4)
        self.narrow = nn.Parameter(torch.randn(HIDDEN, WIDTH) / 4)
        self.shift = nn.Parameter(torch.zeros(HIDDEN))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = x @ self.widen + self.shift
        return (wide * torch.sigmoid(1.702 * wide)) @ self.narrow


class RollRotation(nn.Module):
    """Rotary positions by `roll`; the signs are the sines'."""

    def forward(self, x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
        cos, sin = (part.to(x.dtype) for part in (angles.cos(), angles.sin()))
        turned = x.roll(DEPTH // 2, -1)
        return torch.addcmul(x * torch.cat([cos, cos], -1), turned, torch.cat([-sin, sin], -1))


class SeparateLstmCell(nn.Module):
    """An LSTM cell with a linear map of input and one of state for each of its four gates."""

    def __init__(self) -> None:
        super().__init__()
        self.x = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.h = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, cell = state
        let, forget, new, out = (a(x) + b(hidden) for a, b in zip(self.x, self.h, strict=True))
        cell = torch.addcmul(forget.sigmoid() * cell, let.sigmoid(), new.tanh())
        return out.sigmoid().mul(cell.tanh()), cell


# Without any pattern -------------------------------------------------------------------------


class UnitVectors(nn.Module):
    """Steps of a power iteration: a product, then a vector's length."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(3):
            x = x @ x.mT @ x
            x = x / x.norm(dim=(1, 2), keepdim=True)
        return x


class HaarWavelet(nn.Module):
    """Sums and differences of even and odd coordinates, scaled."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        even, odd = x[..., ::2], x[..., 1::2]
        return torch.cat([(even + odd) * 0.5**0.5, (even - odd) * 0.5**0.5], -1)


class MovingAverage(nn.Module):
    """A loop in which each step moves a mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x[:, 0]
        for step in x[:, 1:].unbind(1):
            mean = mean.lerp(step, 0.1)
        return mean


class LowRankProduct(nn.Module):
    """Two narrow linear maps that are added to nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(WIDTH, 2, bias=False), nn.Linear(2, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.up(self.down(x))
        return found
