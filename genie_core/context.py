"""What a thread's work is for, as plugins say it; the recorder notes it with each op."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import attrs

from genie_core import _native
from genie_core.numbering import Numbering


@attrs.frozen
class Context:
    """A thread's present work. Each distinct one is kept for good: put in few values."""

    phase: str = ""
    annotations: tuple[Any, ...] = ()


contexts = Numbering(Context())


@contextlib.contextmanager
def working(**changes: Any) -> Iterator[None]:
    """Change attributes of the calling thread's `Context` for the `with` block."""
    before = _native.exchange_context(0)
    changed = attrs.evolve(contexts.value(before), **changes)
    _native.exchange_context(contexts.number(changed))
    try:
        yield
    finally:
        _native.exchange_context(before)
