"""Models without any pattern, each close to one."""

from __future__ import annotations

import torch
from torch import nn

from . import inputs
from .entry import EVAL, Entry, Run

WIDTH = 16
EVAL_WITH_MORE = Run("eval", 3)


class SoftmaxOfLinear(nn.Module):
    """Chances of classes: a softmax without attention."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.linear(x), -1)


class Similarities(nn.Module):
    """A product of two sequences and a softmax, of which the largest is wanted."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(x @ x.mT / 4, -1).amax(-1)


class ProductOfProducts(nn.Module):
    """Two products and no softmax between."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ x.mT @ x


class WeightedMean(nn.Module):
    """A softmax over positions, by a linear score, and no keys."""

    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (torch.softmax(self.score(x), 1) * x).amax(1)


class TwoConvolutions(nn.Module):
    """Convolutions outside of a block: no norm, no activation of a kind, nothing added."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.second(self.first(x)).abs()
        return found


class TwoBranches(nn.Module):
    """A sum of two maps: neither is what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.left(x) + self.right(x)
        return found


class JoinedFeatures(nn.Module):
    """A `cat` that no cache and no skip is."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.linear(torch.cat([x, x.flip(0)], -1))
        return found


class Choice(nn.Module):
    """The largest values, of nothing that routes."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.topk(x, 3, -1).values.sum(-1)


class Selection(nn.Module):
    """Rows of data by index: no table of weights."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, torch.arange(3, device=x.device).flip(0)]


class Polynomial(nn.Module):
    """Powers and means, as norms have them, and no division by them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.pow(2).mean(-1, keepdim=True) + x.mean(-1, keepdim=True) * x


class Waves(nn.Module):
    """Cosines and sines, and nothing that they rotate."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.cos() * x.sin() + x.neg()


class Gates(nn.Module):
    """A sigmoid and a tanh, multiplied: no cell."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(x) * torch.tanh(x)


class Integral(nn.Module):
    """A loop that adds up."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = torch.zeros_like(x[:, 0])
        for step in x.unbind(1):
            total = total + step
        return total


class Distances(nn.Module):
    """The distances of rows, by their products."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        squares = x.square().sum(-1)
        return squares[..., :, None] + squares[..., None, :] - 2 * x @ x.mT


NEGATIVES = tuple(
    Entry(f"negative: {kind.__name__}", kind, batch, (EVAL, EVAL_WITH_MORE), negative=True)
    for kind, batch in (
        (SoftmaxOfLinear, inputs.rows),
        (Similarities, inputs.sequences),
        (ProductOfProducts, inputs.sequences),
        (WeightedMean, inputs.sequences),
        (TwoConvolutions, inputs.images),
        (TwoBranches, inputs.rows),
        (JoinedFeatures, inputs.rows),
        (Choice, inputs.rows),
        (Selection, inputs.sequences),
        (Polynomial, inputs.rows),
        (Waves, inputs.rows),
        (Gates, inputs.rows),
        (Integral, inputs.sequences),
        (Distances, inputs.sequences),
    )
)
