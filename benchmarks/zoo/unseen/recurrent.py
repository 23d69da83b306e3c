"""Recurrent networks by hand, a step at a time, and models of text with them."""

from __future__ import annotations

import torch
from torch import nn

from ..inputs import VOCABULARY

WIDTH = 16


class SixMapGru(nn.Module):
    """A GRU cell of six linear maps; the reset gate is on the mapped state, as torch has it."""

    def __init__(self) -> None:
        super().__init__()
        self.x_r, self.x_z, self.x_n = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.h_r, self.h_z, self.h_n = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        reset = torch.sigmoid(self.x_r(x) + self.h_r(h))
        update = torch.sigmoid(self.x_z(x) + self.h_z(h))
        new = torch.tanh(self.x_n(x) + reset * self.h_n(h))
        return update * h + (1.0 - update) * new


class MatrixGru(nn.Module):
    """A GRU cell of matrices, moved by the difference: `h + z * (n - h)`."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(WIDTH, 3 * WIDTH) / 4)
        self.u = nn.Parameter(torch.randn(WIDTH, 3 * WIDTH) / 4)
        self.b = nn.Parameter(torch.zeros(3 * WIDTH))

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        xr, xz, xn = (x @ self.w + self.b).chunk(3, 1)
        hr, hz, hn = (h @ self.u).chunk(3, 1)
        reset, update = (xr + hr).sigmoid(), (xz + hz).sigmoid()
        return h + update * ((xn + reset * hn).tanh() - h)


class ScriptLstm(nn.Module):
    """PyTorch's example of a scripted cell: two products with matrices, then four chunks."""

    def __init__(self) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.randn(4 * WIDTH, WIDTH) / 4)
        self.weight_hh = nn.Parameter(torch.randn(4 * WIDTH, WIDTH) / 4)
        self.bias_ih = nn.Parameter(torch.randn(4 * WIDTH) / 4)
        self.bias_hh = nn.Parameter(torch.randn(4 * WIDTH) / 4)

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        hx, cx = state
        gates = (
            torch.mm(x, self.weight_ih.t())
            + self.bias_ih
            + torch.mm(hx, self.weight_hh.t())
            + self.bias_hh
        )
        ingate, forgetgate, cellgate, outgate = gates.chunk(4, 1)
        ingate, forgetgate = torch.sigmoid(ingate), torch.sigmoid(forgetgate)
        cellgate, outgate = torch.tanh(cellgate), torch.sigmoid(outgate)
        cy = (forgetgate * cx) + (ingate * cellgate)
        return outgate * torch.tanh(cy), cy


class JoinedLstm(nn.Module):
    """One product of input and state side by side; the forget gate has 1 added."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * WIDTH, 4 * WIDTH)

    def forward(
        self, x: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        h, c = state
        i, j, f, o = torch.split(self.linear(torch.cat((x, h), dim=1)), WIDTH, dim=1)
        c = c * torch.sigmoid(f + 1.0) + torch.sigmoid(i) * torch.tanh(j)
        return torch.tanh(c) * torch.sigmoid(o), c


class JoinedRnn(nn.Module):
    """The tutorial's: one linear map of input and state side by side, a tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.i2h = nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.i2h(torch.cat((x, h), 1)))


class MatrixRnn(nn.Module):
    """karpathy's min-char-rnn: `tanh(Wxh x + Whh h + b)`."""

    def __init__(self) -> None:
        super().__init__()
        self.wxh = nn.Parameter(torch.randn(WIDTH, WIDTH) / 4)
        self.whh = nn.Parameter(torch.randn(WIDTH, WIDTH) / 4)
        self.bh = nn.Parameter(torch.zeros(WIDTH))

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(torch.matmul(x, self.wxh) + torch.matmul(h, self.whh) + self.bh)


class Steps(nn.Module):
    """A cell along (batch, length, width): its state after each step."""

    def __init__(self, cell: nn.Module, states: int = 1) -> None:
        super().__init__()
        self.cell, self.states = cell, states

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        zeros = x.new_zeros(x.shape[0], WIDTH)
        state = zeros if self.states == 1 else (zeros, zeros)
        found = []
        for step in range(x.shape[1]):
            state = self.cell(x[:, step], state)
            found.append(state if isinstance(state, torch.Tensor) else state[0])
        return torch.stack(found, dim=1)


class CharacterModel(nn.Module):
    """Tokens, cells along them, dropout, scores of what is next."""

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Embedding(VOCABULARY, WIDTH), nn.Linear(WIDTH, VOCABULARY)
        self.rnn, self.drop = nn.Sequential(*steps), nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.decoder(self.drop(self.rnn(self.encoder(x))))
        return scores
