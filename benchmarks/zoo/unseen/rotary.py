"""Rotary decoders by hand; one writes tokens with a cache of fixed size."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from ..inputs import VOCABULARY
from .text import DEPTH, HEADS, WIDTH, LlamaNorm, SwiGlu


class RotateEveryTwo(nn.Module):
    """Mesh Transformer's rotary positions: pairs of neighbours, `rotate_every_two`."""

    def forward(self, x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
        turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
        return (x * cos) + (turned * sin)


class RotateHalf(nn.Module):
    """Rotary positions of a part of each head; halves are the pairs, written as a `cat`."""

    def forward(self, x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor) -> torch.Tensor:
        x, left = x.chunk(2, dim=-1)
        a, b = x.chunk(2, dim=-1)
        cos, sin = cos[..., : x.shape[-1] // 2], sin[..., : x.shape[-1] // 2]
        return torch.cat((a * cos - b * sin, b * cos + a * sin, left), dim=-1)


class Angles(nn.Module):
    """Sines and cosines of the positions from `start` on, each twice: (length, depth)."""

    def forward(self, x: torch.Tensor, start: int) -> tuple[torch.Tensor, torch.Tensor]:
        rates = 10000.0 ** (-torch.arange(0, DEPTH, 2, device=x.device) / DEPTH)
        places = torch.arange(start, start + x.shape[1], device=x.device)
        angles = torch.outer(places.float(), rates).repeat_interleave(2, dim=-1)
        return angles.sin().to(x.dtype), angles.cos().to(x.dtype)


class FixedCache(nn.Module):
    """Keys and values of all positions so far, written in place."""

    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(3, 1, 16, DEPTH), persistent=False)

    def forward(
        self, k: torch.Tensor, v: torch.Tensor, start: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        count, end = len(k), start + k.shape[2]
        self.keys[:count, :, start:end] = k
        self.values[:count, :, start:end] = v
        return self.keys[:count, :, :end], self.values[:count, :, :end]


class GrowingCache(nn.Module):
    """Keys and values of all positions so far, made longer each time."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(
        self, k: torch.Tensor, v: torch.Tensor, start: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if start and self.kept is not None:
            k, v = torch.cat([self.kept[0], k], dim=2), torch.cat([self.kept[1], v], dim=2)
        self.kept = k, v
        return k, v


class GroupedRotaryAttention(nn.Module):
    """One key and value head for two of queries, made two by `repeat_interleave`."""

    def __init__(self, rotation: type[nn.Module], cache: type[nn.Module] | None) -> None:
        super().__init__()
        self.wq, self.wo = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.wk, self.wv = (nn.Linear(WIDTH, DEPTH, bias=False) for _ in range(2))
        self.rotation, self.cache = rotation(), cache() if cache else None

    def forward(
        self, x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor, start: int
    ) -> torch.Tensor:
        batch, length, _ = x.shape
        q = self.wq(x).view(batch, length, HEADS, DEPTH).transpose(1, 2)
        k, v = (p(x).view(batch, length, 1, DEPTH).transpose(1, 2) for p in (self.wk, self.wv))
        q, k = self.rotation(q, sin, cos), self.rotation(k, sin, cos)
        if self.cache is not None:
            k, v = self.cache(k, v, start)
        k, v = k.repeat_interleave(HEADS, dim=1), v.repeat_interleave(HEADS, dim=1)
        scores = torch.matmul(q, k.transpose(2, 3)) / DEPTH**0.5
        if length > 1:
            scores = scores + torch.full_like(scores[0, 0], -1e4).triu(1)
        mixed = functional.softmax(scores.float(), dim=-1).type_as(q) @ v
        found: torch.Tensor = self.wo(mixed.transpose(1, 2).contiguous().view(batch, length, -1))
        return found


class RotaryBlock(nn.Module):
    """Norm, attention, sum, norm, SwiGLU, sum."""

    def __init__(self, rotation: type[nn.Module], cache: type[nn.Module] | None) -> None:
        super().__init__()
        self.attention, self.feed_forward = GroupedRotaryAttention(rotation, cache), SwiGlu()
        self.attention_norm, self.ffn_norm = LlamaNorm(), LlamaNorm()

    def forward(
        self, x: torch.Tensor, sin: torch.Tensor, cos: torch.Tensor, start: int
    ) -> torch.Tensor:
        h = x + self.attention(self.attention_norm(x), sin, cos, start)
        found: torch.Tensor = h + self.feed_forward(self.ffn_norm(h))
        return found


class RotaryModel(nn.Module):
    """Tokens, blocks, a norm, and scores by a map of its own."""

    def __init__(self, rotation: type[nn.Module], cache: type[nn.Module] | None = None) -> None:
        super().__init__()
        self.tok_embeddings, self.angles = nn.Embedding(VOCABULARY, WIDTH), Angles()
        self.layers = nn.ModuleList(RotaryBlock(rotation, cache) for _ in range(2))
        self.norm, self.output = LlamaNorm(), nn.Linear(WIDTH, VOCABULARY, bias=False)

    def forward(self, x: torch.Tensor, start: int = 0) -> torch.Tensor:
        found = self.tok_embeddings(x)
        sin, cos = self.angles(found, start)
        for block in self.layers:
            found = block(found, sin, cos, start)
        scores: torch.Tensor = self.output(self.norm(found))
        return scores


class Writer(nn.Module):
    """Reads a text, then writes two tokens, the likeliest each time."""

    def __init__(self, cache: type[nn.Module]) -> None:
        super().__init__()
        self.model = RotaryModel(RotateEveryTwo, cache)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        place, scores = x.shape[1], self.model(x)
        for step in range(2):
            scores = self.model(scores[:, -1:].argmax(-1), place + step)
        found: torch.Tensor = scores
        return found
