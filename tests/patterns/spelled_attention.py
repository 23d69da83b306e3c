"""Attention and rotations in the field's spellings, and what looks like them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import nn

WORDS, HEADS = (2, 6, 8), (2, 2, 6, 4)


class Heads(nn.Module):
    """Queries, keys and values of two heads; `mix` makes of them what is returned."""

    def __init__(self, mix: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.mix = mix
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = (part(x) for part in (self.query, self.key, self.value))
        return self.mix(*(part.unflatten(-1, (2, 4)).transpose(1, 2) for part in parts))


def shifted(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = q @ k.mT * 0.5
    raised = (scores - scores.amax(-1, keepdim=True)).exp()
    return raised @ v / raised.sum(-1, keepdim=True)


def quiet(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    raised = (q @ k.mT * 0.5).exp()
    return (raised / (1 + raised.sum(-1, keepdim=True))) @ v


def transposed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return v.mT @ torch.softmax(q @ k.mT * 0.5, -1).mT


def unit(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).mT
    return torch.softmax(scores * 10, -1) @ v


def hidden_twice(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    hidden = torch.ones(q.shape[-2], q.shape[-2], dtype=torch.bool, device=q.device).triu(1)
    scores = (q @ k.mT * 0.5).masked_fill(hidden, -1e4)
    return scores.softmax(-1).masked_fill(hidden, 0.0) @ v


def renormed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    weights = torch.softmax(q @ k.mT * 0.5, -2) + 1e-6
    return (weights / weights.sum(-1, keepdim=True)) @ v


def sunk(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    scores = q @ k.mT * 0.5
    scores = torch.cat([scores, scores.new_zeros(*scores.shape[:-1], 1)], -1)
    return scores.softmax(-1)[..., :-1] @ v


def linear_attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (F.elu(q) + 1) @ ((F.elu(k) + 1).mT @ v)


def banded(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    ones = torch.ones(q.shape[-2], q.shape[-2], device=q.device)
    return F.scaled_dot_product_attention(q, k, v, (ones.tril() * ones.triu(-2)).bool())


def near(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    at = torch.arange(q.shape[-2], device=q.device)
    far = (at[:, None] - at[None]).abs() > 2
    return (q @ k.mT * 0.5).masked_fill(far, -1e4).softmax(-1) @ v


class Latents(nn.Module):
    """Learned queries that attend to what comes in, then to each other."""

    def __init__(self) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(3, 8))
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.norm = nn.LayerNorm(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q = self.query(self.norm(self.latents)).expand(x.shape[0], -1, -1)
        weights = torch.softmax(torch.bmm(q * 8**-0.5, self.key(x).mT), -1)
        return torch.bmm(weights, self.value(x)) + self.latents


class Rotary(nn.Module):
    """Queries and keys turned by position; `form` is how."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        angles = torch.outer(torch.arange(6.0), torch.tensor([1.0, 0.1]))
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form == "written":
            y = torch.empty_like(x)
            left, right = x.chunk(2, -1)
            y[..., :2] = left * self.cos - right * self.sin
            y[..., 2:] = right * self.cos + left * self.sin
            return y * 2
        if self.form == "rolled":
            cos = torch.cat([self.cos, self.cos], -1)
            return x * cos + x.roll(2, -1) * torch.cat([-self.sin, self.sin], -1)
        if self.form == "complex":
            turned = torch.view_as_complex(x.unflatten(-1, (2, 2)))
            return torch.view_as_real(turned * torch.complex(self.cos, self.sin)).flatten(-2)
        even, odd = x[..., ::2], x[..., 1::2]
        turned = torch.stack([even * self.cos - odd * self.sin, even * self.sin + odd * self.cos])
        return turned.permute(1, 2, 3, 4, 0).flatten(-2)


class Prefixed(nn.Module):
    """Learned keys and values before those of the words: no cache."""

    def __init__(self) -> None:
        super().__init__()
        self.prefix = nn.ParameterList(torch.randn(2, 2, 3, 4) for _ in range(2))

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        k, v = (torch.cat([old, new], 2) for old, new in zip(self.prefix, (k, v), strict=True))
        return F.scaled_dot_product_attention(q, k, v)


class Points(nn.Module):
    """Points of a plane, turned: no positions of features."""

    def forward(self, x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
        left, right, cos, sin = x[:, 0], x[:, 1], angle.cos(), angle.sin()
        return torch.stack([left * cos - right * sin, left * sin + right * cos], -1)


def half() -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8))


class Conformer(nn.Module):
    """Half an MLP, attention, a convolution, half an MLP, each added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(5))
        self.halves = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 16), nn.SiLU(), nn.Linear(16, 8)) for _ in range(2)
        )
        self.mix, self.out = Heads(F.scaled_dot_product_attention), nn.Linear(8, 8)
        self.widen, self.narrow = nn.Conv1d(8, 16, 1), nn.Conv1d(8, 8, 1)
        self.filter, self.norm = nn.Conv1d(8, 8, 3, padding=1, groups=8), nn.BatchNorm1d(8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + 0.5 * self.halves[0](self.norms[0](x))
        x = x + self.out(self.mix(self.norms[1](x)).transpose(1, 2).flatten(2))
        y = F.glu(self.widen(self.norms[2](x).mT), 1)
        x = x + self.narrow(F.silu(self.norm(self.filter(y)))).mT
        x = x + 0.5 * self.halves[1](self.norms[3](x))
        return self.norms[4](x)


ATTENTION = {"attention": 1}

CASES = {
    **{
        f"attention, {mix.__name__}": (Heads(mix), [WORDS], ATTENTION)
        for mix in (shifted, quiet, transposed, unit, hidden_twice, renormed, sunk)
    },
    "attention, linear": (Heads(linear_attention), [WORDS], {}),
    "window, band": (Heads(banded), [WORDS], {**ATTENTION, "sliding_window": 1}),
    "window, distance": (Heads(near), [WORDS], {**ATTENTION, "sliding_window": 1}),
    "latents": (Latents(), [WORDS], {"cross_attention": 1, "layer_norm": 1, "residual": 1}),
    **{
        f"rope, {form}": (Rotary(form), [HEADS], {"rope": 1})
        for form in ("written", "rolled", "complex", "pairs")
    },
    "conformer": (
        Conformer(),
        [WORDS],
        {
            "layer_norm": 5,
            "mlp": 2,
            "attention": 1,
            "conv_bn_act": 1,
            "depthwise_separable": 1,
            "residual": 4,
            "transformer_block": 1,
        },
    ),
    "prefix": (Prefixed(), [HEADS] * 3, ATTENTION),
    "points": (Points(), [(6, 2), (1,)], {}),
}
