"""Transformers over images: one of shifted windows, one that is as simple as can be."""

from __future__ import annotations

import torch
from torch import nn

from .text import HEADS, WIDTH, OpenAttention, PowerNorm, PreNorm, TanhGeluFfn

WINDOW = 4


class WindowedAttention(nn.Module):
    """Attention within windows, (windows, places, width), with a bias by relative position."""

    index: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.table = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, HEADS) / 50)
        grid = torch.meshgrid(torch.arange(WINDOW), torch.arange(WINDOW), indexing="ij")
        places = torch.stack(grid).flatten(1)
        away = (places[:, :, None] - places[:, None, :]).permute(1, 2, 0) + WINDOW - 1
        self.register_buffer("index", away[..., 0] * (2 * WINDOW - 1) + away[..., 1])

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        count, length, width = x.shape
        qkv = self.qkv(x).reshape(count, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        scores = (q * (width // HEADS) ** -0.5) @ k.transpose(-2, -1)
        bias = self.table[self.index.view(-1)].view(length, length, -1)
        scores = scores + bias.permute(2, 0, 1).unsqueeze(0)
        if mask is not None:
            windows = mask.shape[0]
            scores = scores.view(-1, windows, HEADS, length, length) + mask[None, :, None]
            scores = scores.view(-1, HEADS, length, length)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(count, length, width)
        found: torch.Tensor = self.proj(mixed)
        return found


class WindowMlp(nn.Sequential):
    """Two linear maps."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(WIDTH, 32), nn.GELU(), nn.Linear(32, WIDTH), nn.Dropout(0.1))


class ShiftedWindowBlock(nn.Module):
    """Windows, rolled by half a window if `shift`, attention, back, MLP: (batch, h, w, width)."""

    mask: torch.Tensor | None

    def __init__(self, side: int, *, shift: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn, self.mlp = WindowedAttention(), WindowMlp()
        self.shift = WINDOW // 2 if shift else 0
        self.register_buffer("mask", self._mask(side) if shift else None)

    def _mask(self, side: int) -> torch.Tensor:
        regions = torch.zeros(1, side, side, 1)
        cuts = (slice(0, -WINDOW), slice(-WINDOW, -self.shift), slice(-self.shift, None))
        for number in range(9):
            regions[:, cuts[number // 3], cuts[number % 3]] = number
        flat = partition(regions).squeeze(-1)
        return (flat[:, None, :] - flat[:, :, None]).ne(0).float() * -100.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, side, _, _ = x.shape
        shortcut, x = x, self.norm1(x)
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = joined(self.attn(partition(x), self.mask), side)
        if self.shift:
            x = torch.roll(x, (self.shift, self.shift), (1, 2))
        x = shortcut + x
        found: torch.Tensor = x + self.mlp(self.norm2(x))
        return found


def partition(x: torch.Tensor) -> torch.Tensor:
    """(batch, h, w, width) to (windows, places, width)."""
    batch, height, width, depth = x.shape
    x = x.view(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, depth)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW * WINDOW, depth)


def joined(windows: torch.Tensor, side: int) -> torch.Tensor:
    """What `partition` took apart."""
    count = side // WINDOW
    x = windows.view(-1, count, count, WINDOW, WINDOW, windows.shape[-1])
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, side, side, windows.shape[-1])


class PatchEmbed(nn.Module):
    """Patches of 2×2, channels last, normed."""

    def __init__(self) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(3, WIDTH, 2, 2), nn.LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.norm(self.proj(x).permute(0, 2, 3, 1))
        return found


class ShiftedWindows(nn.Module):
    """Patches, a block of windows, one of shifted windows, their mean, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = PatchEmbed()
        self.layers = nn.Sequential(
            ShiftedWindowBlock(8, shift=False), ShiftedWindowBlock(8, shift=True)
        )
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.layers(self.patches(x)))
        scores: torch.Tensor = self.head(x.mean((1, 2)))
        return scores


class SimplePatches(nn.Module):
    """Patches of 4×4 as lucidrains has them: a reshape, a norm, a linear map, a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.LayerNorm(48), nn.LayerNorm(WIDTH)
        self.linear = nn.Linear(48, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        x = x.reshape(batch, channels, height // 4, 4, width // 4, 4)
        x = x.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, 16 * channels)
        found: torch.Tensor = self.last(self.linear(self.first(x)))
        return found


class SimpleViT(nn.Module):
    """Patches, fixed places, two blocks, their mean, a class."""

    def __init__(self) -> None:
        super().__init__()
        self.to_patches = SimplePatches()
        self.pos = nn.Parameter(torch.randn(1, 16, WIDTH) / 50, requires_grad=False)
        self.blocks = nn.Sequential(
            *(PreNorm(OpenAttention, PowerNorm, TanhGeluFfn) for _ in range(2))
        )
        self.linear_head = nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.to_patches(x) + self.pos)
        scores: torch.Tensor = self.linear_head(x.mean(dim=1))
        return scores
