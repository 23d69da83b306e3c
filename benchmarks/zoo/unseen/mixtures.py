"""Experts that are chosen, and scans of a state."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from .text import WIDTH

EXPERTS, STATE, INNER = 4, 4, 24


class SwitchGate(nn.Module):
    """Switch Transformer's: one expert for each token, and how sure that choice is."""

    def __init__(self) -> None:
        super().__init__()
        self.switch = nn.Linear(WIDTH, EXPERTS)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        route = functional.softmax(self.switch(x), dim=-1)
        chances, chosen = torch.topk(route, 1, dim=-1)
        return chances, chosen


class SigmoidGate(nn.Module):
    """DeepSeek's: a sigmoid, a bias that only chooses, weights that add up to one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(EXPERTS, WIDTH) / 4)
        self.bias = nn.Parameter(torch.randn(EXPERTS) / 10, requires_grad=False)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scores = functional.linear(x, self.weight).sigmoid()
        chosen = torch.topk(scores + self.bias, 2, dim=-1)[1]
        weights = scores.gather(-1, chosen)
        return weights / weights.sum(dim=-1, keepdim=True), chosen


class RoutedExperts(nn.Module):
    """Each expert does all tokens, those that did not choose it with weight 0."""

    def __init__(self, gate: type[nn.Module]) -> None:
        super().__init__()
        self.gate = gate()
        self.w1 = nn.Parameter(torch.randn(EXPERTS, WIDTH, INNER) / 4)
        self.w2 = nn.Parameter(torch.randn(EXPERTS, INNER, WIDTH) / 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights, chosen = self.gate(x)
        dense = torch.zeros_like(x[..., :EXPERTS]).scatter(-1, chosen, weights)
        inner = torch.einsum("bld,edf->blef", x, self.w1).relu()
        return torch.einsum("blef,efd,ble->bld", inner, self.w2, dense)


class SwitchExperts(RoutedExperts):
    """Experts of a switch."""

    def __init__(self) -> None:
        super().__init__(SwitchGate)


class SigmoidExperts(RoutedExperts):
    """Experts of sigmoids."""

    def __init__(self) -> None:
        super().__init__(SigmoidGate)


class ReferenceScan(nn.Module):
    """The loop of Mamba's `selective_scan_ref`: (batch, width, length), and so is what it gives."""

    def forward(self, decay: torch.Tensor, written: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        x = torch.zeros_like(decay[:, :, 0])
        ys = []
        for i in range(decay.shape[2]):
            x = decay[:, :, i] * x + written[:, :, i]
            ys.append(torch.einsum("bdn,bn->bd", x, c[:, :, i]))
        return torch.stack(ys, dim=2)


class MinimalMamba(nn.Module):
    """mamba-minimal's block: two branches, a causal convolution, the scan, a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.in_proj = nn.Linear(WIDTH, 2 * INNER, bias=False)
        self.conv1d = nn.Conv1d(INNER, INNER, 3, groups=INNER, padding=2)
        self.x_proj = nn.Linear(INNER, 2 + 2 * STATE, bias=False)
        self.dt_proj, self.out_proj = nn.Linear(2, INNER), nn.Linear(INNER, WIDTH, bias=False)
        self.A_log = nn.Parameter(torch.log(torch.arange(1.0, STATE + 1)).repeat(INNER, 1))
        self.D, self.scan = nn.Parameter(torch.ones(INNER)), ReferenceScan()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, res = self.in_proj(x).split([INNER, INNER], dim=-1)
        u = functional.silu(self.conv1d(u.transpose(1, 2))[..., : x.shape[1]])
        y = (self._scanned(u) + u * self.D[:, None]) * functional.silu(res.transpose(1, 2))
        found: torch.Tensor = self.out_proj(y.transpose(1, 2))
        return found

    def _scanned(self, u: torch.Tensor) -> torch.Tensor:
        delta, b, c = self.x_proj(u.transpose(1, 2)).split([2, STATE, STATE], dim=-1)
        delta = functional.softplus(self.dt_proj(delta)).transpose(1, 2)
        b, c = b.transpose(1, 2), c.transpose(1, 2)
        decay = torch.exp(torch.einsum("bdl,dn->bdln", delta, -torch.exp(self.A_log)))
        written = torch.einsum("bdl,bnl,bdl->bdln", delta, b, u)
        found: torch.Tensor = self.scan(decay, written, c)
        return found


class DiagonalScan(nn.Module):
    """S4D in its recurrent form: one decay for all steps, (batch, length, width)."""

    def __init__(self) -> None:
        super().__init__()
        rates = torch.linspace(-1, 1, INNER * STATE).view(INNER, STATE)
        self.rates = nn.Parameter(rates)
        self.b = nn.Parameter(torch.randn(INNER, STATE) / 2)
        self.c = nn.Parameter(torch.randn(INNER, STATE) / 2)

    def forward(self, u: torch.Tensor) -> torch.Tensor:
        decay, state = torch.exp(-torch.exp(self.rates)), torch.zeros_like(u[:, 0, :, None])
        ys = []
        for step in u.unbind(1):
            state = torch.addcmul(step[..., None] * self.b, decay, state)
            ys.append(torch.sum(state * self.c, -1))
        return torch.stack(ys, 1)


class StateSpaceLayer(nn.Module):
    """A map, a scan, a map."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.scan = DiagonalScan()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.after(self.scan(self.before(x)))
        return found
