"""What a thread's work is for, as plugins say it; the recorder notes it with each op."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import attrs

from genie_core import _native


@attrs.frozen
class Context:
    """A thread's present work. Each distinct one is kept for good: put in few values."""

    phase: str = ""


_lock = threading.Lock()
_all = [Context()]
_ids = {_all[0]: 0}


def context_of(number: int) -> Context:
    """The context that the recorder noted as `number`."""
    return _all[number]


@contextlib.contextmanager
def working(**changes: Any) -> Iterator[None]:
    """Change attributes of the calling thread's `Context` for the `with` block."""
    before = _native.exchange_context(0)
    _native.exchange_context(_number(attrs.evolve(_all[before], **changes)))
    try:
        yield
    finally:
        _native.exchange_context(before)


def _number(context: Context) -> int:
    with _lock:
        if context not in _ids:
            _ids[context] = len(_all)
            _all.append(context)
        return _ids[context]
