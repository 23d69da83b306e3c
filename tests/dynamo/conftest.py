"""Every test compiles anew, and may count how its graphs were run."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def ways(device: torch.device) -> Callable[[], dict[str, int]]:
    """How calls of compiled graphs were run since the last time that this was asked."""
    from genie_plugins.dynamo.counts import compiled

    before = compiled()

    def since() -> dict[str, int]:
        nonlocal before
        now = compiled()
        new = {way: count - before.get(way, 0) for way, count in now.items()}
        before = now
        return {way: count for way, count in new.items() if count}

    return since
