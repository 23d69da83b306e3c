"""Models without any pattern, each close to one."""

from __future__ import annotations

import torch
from torch import nn


class BatchScores(nn.Module):
    """How far each row is from the others' mean: a norm over examples, without weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(0, keepdim=True)) / (x.std(0, unbiased=False, keepdim=True) + 1e-5)


class NearestNeighbours(nn.Module):
    """The three nearest rows: `topk`, and nothing that is routed."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cdist(x, x).topk(3, largest=False).values.mean(-1)


class StyleGram(nn.Module):
    """How channels go together: a product of a matrix with itself, divided by its size."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        flat = x.reshape(batch, channels, height * width)
        return torch.bmm(flat, flat.transpose(1, 2)).div(channels * height * width)


class PhaseShift(nn.Module):
    """A signal moved in time: complex numbers multiplied, of frequencies and not of places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spectrum = torch.fft.rfft(x)
        angles = torch.arange(spectrum.shape[-1], device=x.device) * 0.3
        moved = spectrum * torch.polar(torch.ones_like(angles), angles)
        found: torch.Tensor = torch.fft.irfft(moved, n=16)
        return found


class Edges(nn.Module):
    """The length of a gradient by two fixed convolutions: squares, a sum, a root."""

    kernels: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        sobel = torch.tensor([[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]])
        self.register_buffer("kernels", torch.stack([sobel, sobel.t()])[:, None])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        slopes = nn.functional.conv2d(x.mean(1, keepdim=True), self.kernels)
        return torch.sqrt(slopes.pow(2).sum(1) + 1e-6)


class SpatialPyramid(nn.Module):
    """The largest values of an image at three scales, side by side."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pools = (nn.functional.max_pool2d(x, size) for size in (4, 8, 16))
        return torch.cat([pool.flatten(1) for pool in pools], 1)


class KeplersEquation(nn.Module):
    """Newton's method: a loop of sines, each step less a quotient."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = x
        for _ in range(4):
            found = found - (found - 0.3 * found.sin() - x) / (1 - 0.3 * found.cos())
        return found


class MixtureLikelihood(nn.Module):
    """The log-likelihood of a mixture of normal distributions: `logsumexp`, and no labels."""

    def __init__(self) -> None:
        super().__init__()
        self.means = nn.Parameter(torch.randn(4, 16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        away = (x[:, None] - self.means).square().sum(-1)
        return torch.logsumexp(-0.5 * away, 1)


class Pixels(nn.Module):
    """Bytes to floats, less the channels' known means, over their known deviations."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bytes_ = (x * 40 + 128).clamp(0, 255).to(torch.uint8)
        mean = torch.tensor([0.48, 0.45, 0.4], dtype=x.dtype, device=x.device)[:, None, None]
        return (bytes_.to(x.dtype) / 255 - mean) / 0.22


class BilinearForm(nn.Module):
    """Two linear maps, multiplied, added up: no activation, no map after."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(16, 8), nn.Linear(16, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = self.left(x) * self.right(x)
        return product.sum(-1)
