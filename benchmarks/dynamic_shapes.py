"""Training with sizes that vary: programs, hits, and losses against the CPU's.

A GPT-2 is trained with forty different pairs of batch and length, a small convolutional network
with forty of batch and image size, in an order that is the same each time. A step is sent in
`pieces`, so that the executor begins early; `programs_a_piece` is how many programs were made for
each, all in all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ._measure import gpt2

STEPS = 40
SETTLED = 4  # steps, after which hits count
Step = Callable[[torch.Tensor], torch.Tensor]


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each model."""
    return [_train(name, make, shapes, device) for name, make, shapes in _models()]


def _models() -> Iterator[tuple[str, Callable[[], nn.Module], list[tuple[int, ...]]]]:
    drop = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)  # or all draw numbers
    sizes = {"n_layer": 2, "n_embd": 32, "n_head": 2, "vocab_size": 100, **drop}
    pairs = _pairs(range(1, 9), range(2, 34))
    yield "GPT-2, batch and length", lambda: _Text(gpt2(**sizes)), pairs
    images: list[tuple[int, ...]] = [
        (batch, 3, size, size) for batch, size in _pairs(range(1, 9), range(8, 40))
    ]
    yield "CNN, batch and image size", _Images, images


def _pairs(first: range, second: range) -> list[tuple[int, ...]]:
    pairs: list[tuple[int, ...]] = [(a, b) for a in first for b in second]
    return random.Random(0).sample(pairs, STEPS)  # noqa: S311 (an order, not a secret)


class _Text(nn.Module):
    """The loss of a language model on tokens, (batch, length)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        loss: torch.Tensor = self.model(input_ids=x.long(), labels=x.long()).loss
        return loss


class _Images(nn.Module):
    """The loss of a classifier on images, (batch, 3, size, size)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(32, 10),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.layers(x / 100)
        return nn.functional.cross_entropy(scores, x.flatten(1)[:, 0].long() % 10)


def _step(make: Callable[[], nn.Module], device: torch.device) -> Step:
    torch.manual_seed(0)
    model = make().train().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(x: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(x.to(device))
        loss.backward()
        optimizer.step()
        return loss.detach().cpu()

    return step


def _train(
    name: str, make: Callable[[], nn.Module], shapes: list[tuple[int, ...]], device: str
) -> dict[str, Any]:
    import genie_core

    where = genie_core.connect("inproc://") if device != "cpu" else torch.device(device)
    there, here = _step(make, where), _step(make, torch.device("cpu"))
    equal, built, flushes = 0, [], []
    for shape in shapes:
        x = torch.randint(0, 100, shape, dtype=torch.float32)
        before = genie_core.stats(where)
        equal += torch.equal(there(x), here(x))
        after = genie_core.stats(where)
        built.append(after.programs_built - before.programs_built)
        flushes.append(built[-1] + after.program_hits - before.program_hits)
    hits = 1 - sum(built[SETTLED:]) / sum(flushes[SETTLED:])
    pieces = max(flushes[SETTLED:])
    return {
        "model": name,
        "steps": STEPS,
        "equal_losses": equal,
        "programs_built": sum(built),
        "pieces": pieces,
        "programs_a_piece": sum(built) / pieces,
        "steps_with_new": sum(made > 0 for made in built),
        "hits": hits,
        "met": equal == STEPS and hits >= 0.95 and sum(built) <= 4 * pieces,
    }
