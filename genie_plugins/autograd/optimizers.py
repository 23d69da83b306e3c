"""Optimizer steps: what is recorded in one is of the phase "optimizer"."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from genie_core.context import working

_open = threading.local()
_Step = tuple[torch.optim.Optimizer, AbstractContextManager[None]]
_lock = threading.Lock()
_watching = False


def watch() -> None:
    """Hook every optimizer of the process. Idempotent."""
    global _watching
    with _lock:
        if not _watching:
            register_optimizer_step_pre_hook(_begin)
            register_optimizer_step_post_hook(_end)
            _watching = True


def _stack() -> list[_Step]:
    if not hasattr(_open, "stack"):
        _open.stack = []
    stack: list[_Step] = _open.stack
    return stack


def _begin(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    _end(optimizer)  # of a step that raised
    step = working(phase="optimizer")
    step.__enter__()
    _stack().append((optimizer, step))


def _end(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    stack = _stack()
    if any(entry[0] is optimizer for entry in stack):
        last = None
        while last is not optimizer:
            last, step = stack.pop()
            step.__exit__(None, None, None)
