"""Recurrent cells, scans, and what looks like them, each with what has to be found in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import nn

STEPS = (3, 2, 8)


class Cells(nn.Module):
    """A cell, step by step, from zeros; what it returns is its state, the output first."""

    def __init__(self, cell: nn.Module, states: int, width: int = 8) -> None:
        super().__init__()
        self.cell, self.states, self.width = cell, states, width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = [x.new_zeros(x.shape[1], self.width, *x.shape[3:]) for _ in range(self.states)]
        for step in x:
            state = self.cell(step, *state)
        return state[0]


def pairs(count: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8, bias=False)]) for _ in range(count)
    )


class ApartLSTM(nn.Module):
    """A map of input and one of state for each gate; `form` says what else there is."""

    def __init__(self, form: str = "") -> None:
        super().__init__()
        self.maps, self.form = pairs(4), form
        self.looks = nn.ParameterList(torch.randn(8) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(5))

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple:
        i, f, g, o = (a(x) + b(h) for a, b in self.maps)
        if self.form == "normed":
            i, f, g, o = (norm(part) for norm, part in zip(self.norms, (i, f, g, o), strict=False))
        if self.form == "peepholes":
            i, f = i + self.looks[0] * c, f + self.looks[1] * c
        forget = 1 - i.sigmoid() if self.form == "coupled" else f.sigmoid()
        c = forget * c + i.sigmoid() * g.tanh()
        if self.form == "peepholes":
            o = o + self.looks[2] * c
        kept = self.norms[4](c) if self.form == "normed" else c
        return o.sigmoid() * kept.tanh(), c


class JoinedLSTM(nn.Module):
    """One map of input and state beside each other."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(16, 32)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple:
        i, g, f, o = self.map(torch.cat([h, x], 1)).split(8, 1)
        c = torch.sigmoid(f + 1.0) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.tanh(c) * torch.sigmoid(o), c


class ConvLSTM(nn.Module):
    """The same of images."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Conv2d(16, 32, 3, padding=1)

    def forward(self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> tuple:
        i, f, o, g = self.map(torch.cat([x, h], 1)).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


class ApartGRU(nn.Module):
    """Maps of input and of state for each gate; `form` is how old and new are mixed."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.maps, self.form = pairs(3), form

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple:
        (ar, br), (az, bz), (an, bn) = self.maps
        r, z = torch.sigmoid(ar(x) + br(h)), torch.sigmoid(az(x) + bz(h))
        n = torch.tanh(an(x) + (bn(r * h) if self.form == "inner" else r * bn(h)))
        if self.form == "lerp":
            return (torch.lerp(n, h, z),)
        if self.form == "moved":
            return (h + z * (n - h),)
        return ((1 - z) * h + z * n,)


class NormedGRU(nn.Module):
    """One map with a norm, of which the gates are parts."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.norm = nn.Linear(16, 24, bias=False), nn.LayerNorm(24)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple:
        reset, new, update = self.norm(self.map(torch.cat([x, h], -1))).chunk(3, -1)
        new = torch.tanh(torch.sigmoid(reset) * new)
        update = torch.sigmoid(update - 1)
        return (update * new + (1 - update) * h,)


class JoinedRNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(16, 8)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple:
        return (torch.tanh(self.map(torch.cat((x, h), 1))),)


class NormedRNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> tuple:
        return (torch.tanh(self.x(x) + self.h(h)),)


class Highway(nn.Module):
    """What came in and what was made of it, mixed by a gate: no cell."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.map = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.gate(x))
        return gate * F.relu(self.map(x)) + (1 - gate) * x


class AdditiveScores(nn.Module):
    """How well a query and keys go together, by a tanh of two maps' sum: no cell."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.score = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 1)

    def forward(self, query: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
        scores = self.score(torch.tanh(self.query(query)[:, None] + self.key(keys)))
        return torch.softmax(scores, 1).mT @ keys


class Neighbours(nn.Module):
    """Each node's features, and the mean of others', by a map each: no cell."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.others = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor, near: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            x = torch.relu(self.own(x) + self.others(near.softmax(-1) @ x))
        return x


class GatedTanh(nn.Module):
    """tanh times sigmoid of maps of the same."""

    def __init__(self) -> None:
        super().__init__()
        self.filter, self.gate = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x))


class Scan(nn.Module):
    """h = exp(dt·A)·h + dt·B·x, each step's decay computed as it comes."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.decay = nn.Parameter(torch.rand(8, 4))
        self.map, self.read, self.dt = nn.Linear(8, 4), nn.Linear(8, 4), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dt, b, c = F.softplus(self.dt(x)), self.map(x), self.read(x)
        rate = -torch.exp(self.decay)
        if self.form == "einsum":
            kept = torch.exp(torch.einsum("bld,dn->bldn", dt, rate))
            new = torch.einsum("bld,bln,bld->bldn", dt, b, x)
        h, seen = x.new_zeros(x.shape[0], 8, 4), []
        for t in range(x.shape[1]):
            if self.form == "einsum":
                h = kept[:, t] * h + new[:, t]
                seen.append(torch.einsum("bdn,bn->bd", h, c[:, t]))
            else:
                step = dt[:, t, :, None]
                h = h * torch.exp(step * rate) + step * b[:, t, None] * x[:, t, :, None]
                seen.append((h * c[:, t, None]).sum(-1))
        return torch.stack(seen, 1)


class Average(nn.Module):
    """A mean that moves: no scan."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x[:, 0]
        for t in range(1, x.shape[1]):
            mean = 0.9 * mean + 0.1 * x[:, t]
        return mean


LSTM, GRU = {"lstm_cell": 3, "cell_loop": 1}, {"gru_cell": 3, "cell_loop": 1}
RNN = {"rnn_cell": 3, "cell_loop": 1}

CASES = {
    "lstm, apart": (Cells(ApartLSTM(), 2), [STEPS], LSTM),
    "lstm, normed": (Cells(ApartLSTM("normed"), 2), [STEPS], {**LSTM, "layer_norm": 15}),
    "lstm, peepholes": (Cells(ApartLSTM("peepholes"), 2), [STEPS], LSTM),
    "lstm, coupled": (Cells(ApartLSTM("coupled"), 2), [STEPS], LSTM),
    "lstm, joined": (Cells(JoinedLSTM(), 2), [STEPS], LSTM),
    "lstm of images": (Cells(ConvLSTM(), 2), [(3, 2, 8, 4, 4)], LSTM),
    **{
        f"gru, {form}": (Cells(ApartGRU(form), 1), [STEPS], GRU)
        for form in ("inner", "outer", "lerp", "moved")
    },
    "gru, normed": (Cells(NormedGRU(), 1), [STEPS], {**GRU, "layer_norm": 3}),
    "rnn, joined": (Cells(JoinedRNN(), 1), [STEPS], RNN),
    "rnn": (Cells(NormedRNN(), 1), [STEPS], RNN),
    "highway": (Highway(), [(2, 8)], {}),
    "additive scores": (AdditiveScores(), [(2, 8), (2, 3, 8)], {}),
    "neighbours": (Neighbours(), [(4, 8), (4, 4)], {}),
    "gated tanh": (GatedTanh(), [(2, 8)], {}),
    "scan, einsum": (Scan("einsum"), [(2, 3, 8)], {"ssm_scan": 1}),
    "scan, step by step": (Scan(""), [(2, 3, 8)], {"ssm_scan": 1}),
    "moving average": (Average(), [(2, 4, 8)], {}),
}
