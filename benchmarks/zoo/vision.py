"""Convolutional networks of plain modules."""

from __future__ import annotations

import torch
from torch import nn


class ConvBnAct(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(
        self, width: int, out: int, activation: nn.Module | None = None, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(width, out, 3, padding=1, bias=False, groups=groups)
        super().__init__(conv, nn.BatchNorm2d(out), activation or nn.ReLU())


class BasicBlock(nn.Module):
    """Two convolutions and what they were given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvBnAct(width, width)
        self.second, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.norm(self.second(self.first(x))) + x)


class SqueezeExcite(nn.Module):
    """Channels weighted by what is in all of them, by linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, 2), nn.Linear(2, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squeezed = x.mean((2, 3))
        weights = torch.sigmoid(self.up(torch.relu(self.down(squeezed))))
        return x * weights[:, :, None, None]


class ConvSqueezeExcite(nn.Module):
    """The same by 1×1 convolutions, with SiLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.down, self.up = nn.Conv2d(width, 2, 1), nn.Conv2d(2, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.up(nn.functional.silu(self.down(self.pool(x)))).sigmoid()
        scaled: torch.Tensor = weights * x
        return scaled


class DepthwiseSeparable(nn.Module):
    """A convolution of each channel, then one of all."""

    def __init__(self, width: int, out: int, *, norm: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.pointwise = nn.Conv2d(width, out, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = self.pointwise(torch.relu(self.norm(self.depthwise(x))))
        return mixed


class ImageNet(nn.Module):
    """Parts in a row, then a pooling head."""

    def __init__(self, *parts: nn.Module, width: int = 8) -> None:
        super().__init__()
        self.stem = ConvBnAct(3, width, nn.SiLU())
        self.parts = nn.Sequential(*parts)
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(width, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.pool(self.parts(self.stem(x))).flatten(1))
        return scores


class UNet(nn.Module):
    """Down, down, up, up; what was on the way down is joined on the way up."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList([ConvBnAct(3, 4), ConvBnAct(4, 8)])
        self.middle, self.pool = ConvBnAct(8, 8), nn.MaxPool2d(2)
        self.grow = nn.ModuleList([nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(8, 4, 2, 2)])
        self.up = nn.ModuleList([ConvBnAct(16, 8), ConvBnAct(8, 4)])
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for down in self.down:
            x = down(x)
            skips.append(x)
            x = self.pool(x)
        x = self.middle(x)
        for grow, up in zip(self.grow, self.up, strict=True):
            x = up(torch.cat([skips.pop(), grow(x)], 1))
        scores: torch.Tensor = self.last(x)
        return scores


class PatchesByUnfold(nn.Module):
    """Patches of 4×4 by reshaping, then one linear map: (batch, patches, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(48, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5)
        tokens: torch.Tensor = self.project(patches.flatten(3).flatten(1, 2))
        return tokens
