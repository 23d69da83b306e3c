"""U-Nets: one that denoises, one that segments."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from .vision import Conv2dNormActivation


class SinusoidalPosEmb(nn.Module):
    """Cosines and sines of a time."""

    def forward(self, time: torch.Tensor) -> torch.Tensor:
        rates = torch.exp(torch.arange(4, device=time.device) * -(math.log(10000) / 3))
        angles = time[:, None] * rates[None, :].to(time.dtype)
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


class TimeMlp(nn.Sequential):
    """What a time means to the blocks."""

    def __init__(self, width: int) -> None:
        super().__init__(nn.Linear(8, width), nn.SiLU(), nn.Linear(width, width))


class Block(nn.Module):
    """Convolution, group norm, a shift by the time, SiLU."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.proj, self.norm = nn.Conv2d(width, out, 3, padding=1), nn.GroupNorm(4, out)

    def forward(self, x: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        x = self.norm(self.proj(x))
        if shift is not None:
            x = x + shift
        return functional.silu(x)


class DiffusionResnet(nn.Module):
    """Two blocks and what they were given, made as wide where it is not."""

    def __init__(self, width: int, out: int, time: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(time, out))
        self.block1, self.block2 = Block(width, out), Block(out, out)
        self.res_conv = nn.Conv2d(width, out, 1) if width != out else nn.Identity()

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        found = self.block1(x, self.mlp(time)[:, :, None, None])
        summed: torch.Tensor = self.block2(found) + self.res_conv(x)
        return summed


class SpatialAttention(nn.Module):
    """Every place looks at all; projections are 1×1 convolutions, channels come first."""

    def __init__(self, width: int, heads: int = 2) -> None:
        super().__init__()
        self.heads, self.depth = heads, width // heads
        self.to_qkv = nn.Conv2d(width, width * 3, 1, bias=False)
        self.to_out = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, _, height, width = x.shape
        q, k, v = (
            part.unflatten(1, (self.heads, self.depth)).flatten(3)
            for part in self.to_qkv(x).chunk(3, dim=1)
        )
        scores = torch.einsum("bhdi,bhdj->bhij", q * self.depth**-0.5, k)
        mixed = torch.einsum("bhij,bhdj->bhdi", scores.softmax(dim=-1), v)
        found: torch.Tensor = self.to_out(mixed.flatten(1, 2).unflatten(-1, (height, width)))
        return found


class AttentionResidual(nn.Module):
    """Group norm, attention, a sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.fn = nn.GroupNorm(1, width), SpatialAttention(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.fn(self.norm(x)) + x
        return found


class DiffusionUnet(nn.Module):
    """Two scales down, attention in the middle, two up; each joins what was on the way down."""

    def __init__(self) -> None:
        super().__init__()
        self.init, self.time = nn.Conv2d(3, 8, 7, padding=3), SinusoidalPosEmb()
        self.time_mlp = TimeMlp(16)
        self.downs = nn.ModuleList([DiffusionResnet(8, 8, 16), DiffusionResnet(12, 12, 16)])
        self.samples = nn.ModuleList([nn.Conv2d(8, 12, 4, 2, 1), nn.Conv2d(12, 16, 4, 2, 1)])
        self.mid1, self.mid2 = DiffusionResnet(16, 16, 16), DiffusionResnet(16, 16, 16)
        self.attention = AttentionResidual(16)
        self.grow = nn.ModuleList([nn.Conv2d(16, 12, 3, padding=1), nn.Conv2d(12, 8, 3, padding=1)])
        self.ups = nn.ModuleList([DiffusionResnet(24, 12, 16), DiffusionResnet(16, 8, 16)])
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
        x, known = self.init(x), self.time_mlp(self.time(time))
        skips = []
        for resnet, sample in zip(self.downs, self.samples, strict=True):
            x = resnet(x, known)
            skips.append(x)
            x = sample(x)
        x = self.mid2(self.attention(self.mid1(x, known)), known)
        for grow, resnet in zip(self.grow, self.ups, strict=True):
            x = grow(functional.interpolate(x, scale_factor=2, mode="nearest"))
            x = resnet(torch.cat((x, skips.pop()), dim=1), known)
        noise: torch.Tensor = self.last(x)
        return noise


class DoubleConv(nn.Sequential):
    """Convolution, batch norm and ReLU, twice."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(
            Conv2dNormActivation(width, out, activation=nn.ReLU),
            Conv2dNormActivation(out, out, activation=nn.ReLU),
        )


class SegmentationUnet(nn.Module):
    """Pooling down, bilinear up, a class for each place."""

    def __init__(self) -> None:
        super().__init__()
        self.inc, self.outc = DoubleConv(3, 4), nn.Conv2d(4, 3, 1)
        self.down1, self.down2 = DoubleConv(4, 8), DoubleConv(8, 8)
        self.up1, self.up2 = DoubleConv(16, 4), DoubleConv(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.inc(x)
        second = self.down1(functional.max_pool2d(first, 2))
        third = self.down2(functional.max_pool2d(second, 2))
        x = self.up1(torch.cat([second, _double(third)], dim=1))
        scores: torch.Tensor = self.outc(self.up2(torch.cat([first, _double(x)], dim=1)))
        return scores


def _double(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
