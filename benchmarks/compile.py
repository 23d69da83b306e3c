"""What a call costs the client: compiled by the backend `genie`, and recorded op by op.

The call alone is timed: the executor, a process of its own, has finished all work before it. In
training that is forward and backward. Both sides take turns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from ._measure import far_side, gpt2, medians, seconds, synchronize

ROUNDS = 40
WARM = 5
BAR = 0.5
SIZES = {"n_layer": 12, "n_embd": 64, "n_head": 4, "vocab_size": 1000}


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each model and what is done with it; times are in µs."""
    torch._dynamo.reset()
    with far_side(device) as genie:
        tokens = torch.arange(32, device=genie).unsqueeze(0)
        image = torch.ones(2, 3, 16, 16, device=genie)
        return [
            _row("GPT-2, 12 layers of 64", "forward", gpt2(**SIZES).to(genie), tokens),
            _row("GPT-2, 12 layers of 64", "training", gpt2(**SIZES).to(genie).train(), tokens),
            _row("residual CNN, 8 blocks of 16", "forward", _cnn().to(genie).eval(), image),
            _row("residual CNN, 8 blocks of 16", "training", _cnn().to(genie), image),
        ]


class _Block(nn.Module):
    """Two convolutions with batch norm, beside what goes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        layers = [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, *copy.deepcopy(layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add both."""
        out: torch.Tensor = x + self.layers(x)
        return out


def _cnn() -> nn.Module:
    blocks = [_Block(16) for _ in range(8)]
    return nn.Sequential(nn.Conv2d(3, 16, 1), *blocks, nn.AvgPool2d(16), nn.Flatten())


def _row(model: str, mode: str, module: nn.Module, batch: torch.Tensor) -> dict[str, Any]:
    compiled: Any = torch.compile(module, backend="genie")
    called: dict[str, Callable[..., Any]] = {"compiled": compiled, "recorded": module}
    make = _forward if mode == "forward" else _training
    runs = {name: make(call, module, batch) for name, call in called.items()}
    medians(runs, WARM)
    times = medians(runs, ROUNDS)
    ratio = times["compiled"] / times["recorded"]
    return {
        "model": model,
        "mode": mode,
        "compiled_us": times["compiled"] * 1e6,
        "recorded_us": times["recorded"] * 1e6,
        "ratio": ratio,
        "bar": BAR,
        "met": ratio <= BAR,
    }


def _forward(call: Callable[..., Any], _: nn.Module, batch: torch.Tensor) -> Callable[[], float]:
    @torch.no_grad()
    def forward() -> float:
        synchronize(batch.device)
        return seconds(lambda: call(batch))

    return forward


def _training(
    call: Callable[..., Any], module: nn.Module, batch: torch.Tensor
) -> Callable[[], float]:
    def step() -> float:
        module.zero_grad()
        synchronize(batch.device)
        return seconds(lambda: _loss(call(batch)).backward())

    return step


def _loss(output: Any) -> torch.Tensor:
    found: torch.Tensor = getattr(output, "logits", output)
    return found.square().mean()
