"""In the steady state no Python runs per op, and a known program is one round trip."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _needs_the_device(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no recorder")


@pytest.fixture
def statistics(device: torch.device) -> Iterator[Callable[[], Any]]:
    import genie_core

    genie_core.reset_stats()
    yield lambda: genie_core.stats(device)
    genie_core.reset_stats()


def frames_of_genie(work: Callable[[], object]) -> list[str]:
    """The functions of Genie's Python that run during `work`."""
    seen: list[str] = []

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and "genie_" in frame.f_globals.get("__name__", ""):
            seen.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")

    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


def test_no_python_frame_per_op(device: torch.device) -> None:
    a, b = torch.ones(8, 8).to(device), torch.eye(8).to(device)
    w = torch.ones(8, 8).to(device).requires_grad_()

    def ops() -> None:
        x = a + b
        x = x.mm(b).relu().t()
        x.add_(b)
        x = x * w
        x[0].view(2, 4).detach().softmax(-1)

    # Flushes here, so that a trace has begun with these ops, and none falls into what is watched.
    torch.ones(1).to(device).cpu()
    for _ in range(3):
        ops()
    torch.ones(1).to(device).cpu()
    assert frames_of_genie(ops) == []


def test_a_training_step_is_one_known_program_and_one_round_trip(
    device: torch.device, statistics: Callable[[], Any]
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    x, y = torch.randn(8, 16).to(device), torch.randint(4, (8,)).to(device)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(3):
        step()
    before = statistics()
    for _ in range(10):
        step()
    after = statistics()
    assert after.programs_built == before.programs_built
    assert after.signature_misses == before.signature_misses
    assert after.round_trips - before.round_trips == 10
    flushes = sum(after.flushes.values()) - sum(before.flushes.values())
    assert after.program_hits - before.program_hits == flushes
    assert (after.bytes_up - before.bytes_up) / 10 <= 1024
    assert (after.bytes_down - before.bytes_down) / 10 <= 1024
