"""What is close to a family and none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable

IMAGE, WORDS, ROWS = (2, 8, 8, 8), (2, 6, 8), (4, 8)


class Plain(nn.Module):
    """A function of what comes in and of a few maps."""

    def __init__(self, form: Callable[..., torch.Tensor], *maps: nn.Module) -> None:
        super().__init__()
        self.form, self.maps = form, nn.ModuleList(maps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.form(x, *self.maps)


class Pruned(nn.Module):
    """A weight of which some values are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(8, 8)
        self.register_buffer("kept", torch.rand(8, 8) > 0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.map.weight * self.kept)


def entropy(x: torch.Tensor) -> torch.Tensor:
    return -(x.softmax(-1) * x.log_softmax(-1)).sum(-1)


def standardized(x: torch.Tensor) -> torch.Tensor:
    return (x - x.mean(0, keepdim=True)) / (x.var(0, keepdim=True, unbiased=False) + 1e-5).sqrt()


def balanced(x: torch.Tensor) -> torch.Tensor:
    shares = torch.exp(x)
    for _ in range(2):
        shares = shares / shares.sum(0, keepdim=True)
        shares = shares / shares.sum(1, keepdim=True)
    return shares


def smoothed(x: torch.Tensor) -> torch.Tensor:
    near = torch.exp(-(x[:, None] - x[None]).square().sum(-1))
    return near / near.sum(-1, keepdim=True)


def gram(x: torch.Tensor) -> torch.Tensor:
    flat = x.flatten(2)
    return flat @ flat.mT / flat.shape[-1]


def spectrum(x: torch.Tensor) -> torch.Tensor:
    return torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(x.flip(-1)))


def masked_means(x: torch.Tensor) -> torch.Tensor:
    mask = (x[..., :1] > 0).to(x.dtype)
    return (x * mask).sum(1) / mask.sum(1).clamp(min=1)


def by_place(x: torch.Tensor, gate: nn.Module) -> torch.Tensor:
    return x * torch.sigmoid(gate(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))


def narrowed(x: torch.Tensor, down: nn.Module, up: nn.Module) -> torch.Tensor:
    return up(F.relu(down(x)))


CASES = {
    "pruned": (Pruned(), [ROWS], {}),
    **{
        form.__name__: (Plain(form), [size], {})
        for form, size in (
            (entropy, ROWS),
            (standardized, ROWS),
            (balanced, ROWS),
            (smoothed, ROWS),
            (gram, IMAGE),
            (spectrum, ROWS),
            (masked_means, WORDS),
        )
    },
    "gate, no maps": (Plain(lambda x: x * torch.sigmoid(x.mean((2, 3), True))), [IMAGE], {}),
    "gate, by place": (Plain(by_place, nn.Conv2d(2, 1, 3, padding=1)), [IMAGE], {}),
    "no skip": (
        Plain(narrowed, nn.Conv2d(8, 8, 3, 2, 1), nn.ConvTranspose2d(8, 8, 2, 2)),
        [IMAGE],
        {},
    ),
    "steps of images": (
        Plain(lambda x, c, m: m(c(x).flatten(2).mT), nn.Conv2d(8, 8, 2, 2), nn.Linear(8, 4)),
        [IMAGE],
        {},
    ),
    "last step": (Plain(lambda x, m: m(x[:, -1]), nn.Linear(8, 3)), [WORDS], {}),
    "low rank": (
        Plain(lambda x, a, b: b(a(x)), nn.Linear(8, 2), nn.Linear(2, 8)),
        [WORDS],
        {},
    ),
    "two towers": (
        Plain(lambda x, a, b: a(x) @ b(x).mT, nn.Linear(8, 4), nn.Linear(8, 4)),
        [ROWS],
        {},
    ),
}
