"""Threads for the tests of single transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from contracts import run_in_background


@pytest.fixture
def background() -> Iterator[Callable[..., Any]]:
    """Starts `function(*args)` on a thread; returns a call that waits for its result."""
    with run_in_background() as start:
        yield start
