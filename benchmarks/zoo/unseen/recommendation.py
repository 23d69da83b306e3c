"""Recommendation: bags of categories, interactions of features."""

from __future__ import annotations

import torch
from torch import nn

from ..inputs import VOCABULARY

WIDTH, FIELDS = 16, 3


class Tower(nn.Sequential):
    """Two linear maps with a ReLU between."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, out))


class PairwiseDots(nn.Module):
    """Meta's: products of all features, those below the diagonal by two lists of indices."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        products = torch.bmm(features, torch.transpose(features, 1, 2))
        count = features.shape[1]
        rows = torch.tensor([i for i in range(count) for _ in range(i)])
        columns = torch.tensor([j for i in range(count) for j in range(i)])
        return products[:, rows.to(features.device), columns.to(features.device)]


class SecondOrder(nn.Module):
    """pytorch-fm's: half of what the square of the sum has more than the sum of squares."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        square_of_sum = torch.sum(features, dim=1) ** 2
        sum_of_square = torch.sum(features**2, dim=1)
        return 0.5 * torch.sum(square_of_sum - sum_of_square, dim=1, keepdim=True)


class ClickModel(nn.Module):
    """Dense features by a tower, bags with offsets, their dots, a tower, a chance."""

    def __init__(self) -> None:
        super().__init__()
        self.emb_l = nn.ModuleList(
            nn.EmbeddingBag(VOCABULARY, WIDTH, mode="mean") for _ in range(FIELDS)
        )
        self.bot_l, self.top_l = Tower(WIDTH, WIDTH), Tower(WIDTH + 6, 1)
        self.interact = PairwiseDots()

    def forward(self, x: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        dense = self.bot_l(x)
        offsets = torch.arange(0, categories[:, 0].numel(), categories.shape[2], device=x.device)
        bags = [
            bag(part.reshape(-1), offsets)
            for bag, part in zip(self.emb_l, categories.unbind(1), strict=True)
        ]
        features = torch.cat([dense, *bags], dim=1).view(len(x), -1, WIDTH)
        mixed = torch.cat([dense, self.interact(features)], dim=1)
        return torch.sigmoid(self.top_l(mixed))


class MeanOfEmbeddings(nn.Module):
    """A bag as the mean of what an embedding found."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(VOCABULARY, WIDTH) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(x, self.table).mean(dim=1)


class FactorModel(nn.Module):
    """DeepFM: a bag for each field, their second order, a tower beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.fields = nn.ModuleList(MeanOfEmbeddings() for _ in range(FIELDS))
        self.linear, self.fm = nn.Linear(FIELDS * WIDTH, 1), SecondOrder()
        self.deep = Tower(FIELDS * WIDTH, 1)

    def forward(self, categories: torch.Tensor) -> torch.Tensor:
        found = [f(part) for f, part in zip(self.fields, categories.unbind(1), strict=True)]
        features = torch.stack(found, dim=1)
        flat = features.flatten(1)
        score: torch.Tensor = self.linear(flat) + self.fm(features) + self.deep(flat)
        return torch.sigmoid(score.squeeze(1))
