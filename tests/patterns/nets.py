"""Small modules, each with what has to be found in it."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)
from torch import nn


class HandAttention(nn.Module):
    """Queries scaled, keys transposed, scores masked by `masked_fill`, softmax in float."""

    def __init__(self, width: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, x: torch.Tensor, memory: torch.Tensor | None = None) -> torch.Tensor:
        memory = x if memory is None else memory
        q, k, v = (
            self.split(self.query(x)),
            self.split(self.key(memory)),
            self.split(self.value(memory)),
        )
        scores = (q / q.shape[-1] ** 0.5) @ k.mT
        if memory is x:
            length = x.shape[1]
            hidden = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(hidden, float("-inf"))
        weights = scores.float().softmax(-1).to(v.dtype)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class RMSNorm(nn.Module):
    def __init__(self, width: int = 8, form: int = 0) -> None:
        super().__init__()
        self.weight, self.form = nn.Parameter(torch.ones(width)), form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.form == 0:
            y = x.float()
            return self.weight * (y * torch.rsqrt((y * y).mean(-1, keepdim=True) + 1e-5)).to(
                x.dtype
            )
        if self.form == 1:
            return x / torch.sqrt(torch.mean(x**2, -1, keepdim=True) + 1e-5) * self.weight
        return x * x.pow(2).mean(-1, keepdim=True).add(1e-5).pow(-0.5) * (1 + self.weight)


class LayerNorm(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(-1, keepdim=True)
        variance = (x - mean).square().mean(-1, keepdim=True)
        return (x - mean) / (variance + 1e-5).sqrt() * self.weight + self.bias


class MLP(nn.Module):
    def __init__(self, form: int = 0) -> None:
        super().__init__()
        self.up, self.down, self.form = nn.Linear(8, 16), nn.Linear(16, 8), form

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        if self.form == 0:
            x = 0.5 * x * (1 + torch.tanh(0.79788 * (x + 0.044715 * x**3)))
        elif self.form == 1:
            x = x * torch.sigmoid(1.702 * x)
        elif self.form == 2:
            x = F.relu(x).square()
        else:
            x = x * 0.5 * (1.0 + torch.erf(x / 2**0.5))
        return self.down(x)


class Gated(nn.Module):
    def __init__(self, fused: bool = False) -> None:
        super().__init__()
        self.fused = fused
        self.up, self.down = nn.Linear(8, 32 if fused else 16), nn.Linear(16, 8)
        self.gate = nn.Linear(8, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fused:
            gate, up = self.up(x).chunk(2, -1)
        else:
            gate, up = self.gate(x), self.up(x)
        return self.down(gate * torch.sigmoid(gate) * up)


class SqueezeExcite(nn.Module):
    def __init__(self, linear: bool) -> None:
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(8, 2) if linear else nn.Conv2d(8, 2, 1)
        self.up = nn.Linear(2, 8) if linear else nn.Conv2d(2, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        pooled = x.mean((2, 3)) if self.linear else F.adaptive_avg_pool2d(x, 1)
        gate = torch.sigmoid(self.up(F.relu(self.down(pooled))))
        return x * (gate[..., None, None] if self.linear else gate)


def conv(inputs: int, outputs: int, kernel: int = 3, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first, self.second = conv(inputs, outputs), conv(outputs, outputs)[:2]
        same = inputs == outputs
        self.shortcut = nn.Identity() if same else conv(inputs, outputs, 1)[:2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep, self.out = conv(3, 4), conv(4, 8), conv(8, 4)
        self.up = nn.ConvTranspose2d(8, 4, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        early = self.down(x)
        late = self.up(self.deep(F.max_pool2d(early, 2)))
        return self.out(torch.cat([early, late], 1))


class Loop(nn.Module):
    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state = None
        for step in x:
            state = self.cell(step, state)
        return state[0] if isinstance(state, tuple) else state


class LoRA(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base, self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 2, False), nn.Linear(2, 8, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.b(self.a(x)) * 0.5


class Quantized(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-5, 5, (4, 8), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(4, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.weight.to(x.dtype) * self.scale)


class DLRM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bags = nn.ModuleList(nn.EmbeddingBag(10, 4, mode="sum") for _ in range(2))
        self.bottom = nn.Sequential(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 4))
        self.top = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 1))

    def forward(self, dense: torch.Tensor, sparse: torch.Tensor) -> torch.Tensor:
        x = self.bottom(dense)
        both = torch.stack([x, *(bag(sparse) for bag in self.bags)], 1)
        rows, columns = torch.tril_indices(3, 3, -1, device=both.device)
        return self.top(torch.cat([x, torch.bmm(both, both.mT)[:, rows, columns]], 1))


class Router(nn.Module):
    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first, self.gate = first, nn.Linear(8, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.first:
            weights, chosen = self.gate(x).softmax(-1).topk(2, -1)
            weights = weights / weights.sum(-1, keepdim=True)
        else:
            weights, chosen = self.gate(x).topk(2, -1)
            weights = weights.softmax(-1)
        return weights + chosen


class Scan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decay, self.inputs, self.dt = (
            nn.Parameter(torch.rand(8, 4)),
            nn.Linear(8, 4),
            nn.Linear(8, 8),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dt, b = F.softplus(self.dt(x)), self.inputs(x)
        kept = torch.exp(dt.unsqueeze(-1) * -torch.exp(self.decay))
        new = dt.unsqueeze(-1) * b.unsqueeze(2) * x.unsqueeze(-1)
        state, seen = torch.zeros_like(new[:, 0]), []
        for t in range(x.shape[1]):
            state = kept[:, t] * state + new[:, t]
            seen.append(state.sum(-1))
        return torch.stack(seen, 1)


class Plain(nn.Module):
    """A softmax without attention, a convolution without a block."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.linear(self.conv(x).flatten(2).mT), -1) * 0.5 + 1
