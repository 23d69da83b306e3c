"""Linear maps with low-rank additions, or of few bits, within small models."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

WIDTH, RANK = 16, 4


class LowRankLinear(nn.Linear):
    """loralib's: the map itself, and two matrices whose product is added, scaled."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__(width, out)
        self.lora_A = nn.Parameter(torch.randn(RANK, width) / 4)
        self.lora_B = nn.Parameter(torch.randn(out, RANK) / 4)
        self.lora_dropout, self.scaling = nn.Dropout(0.1), 2.0
        self.weight.requires_grad = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = functional.linear(x, self.weight, self.bias)
        dropped = self.lora_dropout(x)
        result += (dropped @ self.lora_A.transpose(0, 1) @ self.lora_B.transpose(0, 1)) * (
            self.scaling
        )
        return result


class AdapterLinear(nn.Module):
    """PEFT's: a base layer, and maps by the adapter's name."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.base_layer = nn.Linear(width, out).requires_grad_(requires_grad=False)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(width, RANK, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(RANK, out, bias=False)})
        self.lora_dropout = nn.ModuleDict({"default": nn.Identity()})
        self.scaling = {"default": 0.5}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result = self.base_layer(x)
        for name, narrow in self.lora_A.items():
            lowered = narrow(self.lora_dropout[name](x))
            result = result + self.lora_B[name](lowered) * self.scaling[name]
        found: torch.Tensor = result
        return found


class GroupQuantized(nn.Module):
    """GPTQ's: whole numbers with a zero point and a scale for each group of inputs."""

    codes: torch.Tensor
    zeros: torch.Tensor
    scales: torch.Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        codes = torch.randint(0, 16, (out, width // 8, 8), dtype=torch.uint8)
        self.register_buffer("codes", codes)
        zeros = torch.randint(6, 10, (out, width // 8, 1), dtype=torch.uint8)
        self.register_buffer("zeros", zeros)
        self.register_buffer("scales", torch.rand(out, width // 8, 1) / 30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = (self.codes.to(x.dtype) - self.zeros.to(x.dtype)) * self.scales
        return torch.matmul(x, weight.flatten(1).t())


class PackedQuantized(nn.Module):
    """Two numbers of 4 bits in a byte, unpacked on the fly, a scale for each output."""

    packed: torch.Tensor
    scales: torch.Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.register_buffer("packed", torch.randint(0, 256, (out, width // 2), dtype=torch.uint8))
        self.register_buffer("scales", torch.rand(out, 1) / 30)
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        low, high = self.packed & 0xF, self.packed >> 4
        codes = torch.stack((low, high), dim=-1).flatten(1).to(torch.int8) - 8
        return functional.linear(x, codes.to(x.dtype) * self.scales, self.bias)


class RowQuantized(nn.Module):
    """gpt-fast's: bytes for each output, the scale after the product."""

    weight: torch.Tensor
    scales: torch.Tensor

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randint(-127, 127, (out, width), dtype=torch.int8))
        self.register_buffer("scales", torch.rand(out) / 200)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return functional.linear(x, self.weight.to(dtype=x.dtype)) * self.scales


class Regressor(nn.Module):
    """Maps of some kind with ReLUs between, and a last one."""

    def __init__(self, *kinds: type[nn.Module]) -> None:
        super().__init__()
        self.maps = nn.ModuleList(kind(WIDTH, WIDTH) for kind in kinds)
        self.last = nn.Linear(WIDTH, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for part in self.maps:
            x = functional.relu(part(x))
        found: torch.Tensor = self.last(x)
        return found
