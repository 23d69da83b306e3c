"""The programs that a test records, with what their nodes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from semantics.recording import Recording, forget_programs


@pytest.fixture
def device(device: torch.device) -> torch.device:
    if device.type == "cpu":
        pytest.skip("a rehearsal records nothing")
    return torch.empty(0, device=device).device


@pytest.fixture
def recording(device: torch.device) -> Iterator[Recording]:
    import genie_core

    genie_core.synchronize(device)
    forget_programs(device)
    with genie_core.explain() as explanation:
        yield Recording(explanation, device)


@pytest.fixture
def synchronize(device: torch.device) -> Callable[[], None]:
    import genie_core

    return lambda: genie_core.synchronize(device)
