"""Recurrences of plain modules, recommendation."""

from __future__ import annotations

import torch
from torch import nn

from .inputs import VOCABULARY

WIDTH = 16


class LstmCell(nn.Module):
    """An LSTM cell with a linear map for each gate."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(4))

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hidden, cell = state
        joined = torch.cat([x, hidden], 1)
        forget, let, out, new = (m(joined) for m in self.maps)
        cell = torch.sigmoid(forget) * cell + torch.sigmoid(let) * torch.tanh(new)
        return torch.sigmoid(out) * torch.tanh(cell), cell


class GruCell(nn.Module):
    """A GRU cell as in its paper: the gate is before the product."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(2 * WIDTH, 2 * WIDTH)
        self.new = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        update, reset = self.gates(torch.cat([x, hidden], 1)).sigmoid().chunk(2, 1)
        new = torch.tanh(self.new(torch.cat([x, reset * hidden], 1)))
        state: torch.Tensor = (1 - update) * hidden + update * new
        return state


class ElmanCell(nn.Module):
    """A vanilla cell."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.x(x) + self.h(hidden))


class CellLoop(nn.Module):
    """A cell over (batch, length, width), its state from zeros."""

    def __init__(self, cell: nn.Module, states: int = 1) -> None:
        super().__init__()
        self.cell, self.states = cell, states

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zeros = torch.zeros_like(x[:, 0])
        state = zeros if self.states == 1 else (zeros, zeros)
        for step in x.unbind(1):
            state = self.cell(step, state)
        return state if isinstance(state, torch.Tensor) else state[0]


class SelectiveScan(nn.Module):
    """A state-space scan: (batch, length, width) with a state of four numbers each."""

    def forward(
        self, x: torch.Tensor, decay: torch.Tensor, b: torch.Tensor, c: torch.Tensor
    ) -> torch.Tensor:
        state = torch.zeros_like(decay[:, 0])
        found = []
        for step in range(x.shape[1]):
            state = decay[:, step] * state + x[:, step, :, None] * b[:, step, None, :]
            found.append((state * c[:, step, None, :]).sum(-1))
        return torch.stack(found, 1)


class TinyMixer(nn.Module):
    """A selective scan with what it needs."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.bc = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 8)
        self.rates, self.scan = nn.Parameter(torch.ones(WIDTH, 4)), SelectiveScan()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = nn.functional.softplus(self.step(x))
        b, c = self.bc(x).chunk(2, -1)
        decay = torch.exp(-size[..., None] * self.rates.exp())
        found: torch.Tensor = self.scan(size * x, decay, b, c)
        return found


class DotInteraction(nn.Module):
    """The products of all pairs of features, (batch, features, width)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        products = torch.bmm(features, features.transpose(1, 2))
        row, column = torch.tril_indices(features.shape[1], features.shape[1], -1).to(
            features.device
        )
        return products[:, row, column]


class FactorizationMachine(nn.Module):
    """The sum of those products, by squares."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        squared_sum, sum_squared = features.sum(1).pow(2), features.pow(2).sum(1)
        return 0.5 * (squared_sum - sum_squared)


class BagBySum(nn.Module):
    """A bag's embeddings, added up."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(VOCABULARY, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.embedding(x, self.weight).sum(1)


class BottomMlp(nn.Sequential):
    """Two linear maps with ReLU between."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, out))


class Dlrm(nn.Module):
    """Dense features, bags of categories, their interaction, a score."""

    def __init__(self, bag: type[nn.Module], interaction: type[nn.Module], out: int) -> None:
        super().__init__()
        plain = bag is BagBySum
        self.bags = nn.ModuleList(
            BagBySum() if plain else nn.EmbeddingBag(VOCABULARY, WIDTH, mode="sum")
            for _ in range(3)
        )
        self.bottom = BottomMlp(WIDTH, WIDTH)
        self.interaction = interaction()
        self.top = BottomMlp(WIDTH + out, 1)

    def forward(self, x: torch.Tensor, categories: torch.Tensor) -> torch.Tensor:
        dense = self.bottom(x)
        found = [bag(part) for bag, part in zip(self.bags, categories.unbind(1), strict=True)]
        mixed = self.interaction(torch.stack([dense, *found], 1))
        score: torch.Tensor = self.top(torch.cat([dense, mixed], 1))
        return score
