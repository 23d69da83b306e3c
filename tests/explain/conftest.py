"""A device on which everything is a first sight, and ops that are of patterns."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from semantics.recording import forget_programs

import genie_core


@pytest.fixture
def device(device: torch.device) -> torch.device:
    if device.type == "cpu":
        pytest.skip("a rehearsal records nothing")
    device = torch.empty(0, device=device).device
    genie_core.synchronize(device)
    forget_programs(device)
    return device


@pytest.fixture
def match() -> Any:
    """Gives ops of a program, by a part of their names, instances of patterns."""

    def change(program: Any, **found: tuple[str, ...]) -> None:
        for node in program.nodes:
            names = next((names for part, names in found.items() if part in node.name), ())
            node.meta["genie"] = attrs.evolve(node.meta["genie"], patterns=names)

    return change
