"""Structured events on stderr, through structlog, which is imported at the first event only.

The process's own structlog configuration is left alone: Genie is a guest in it.
"""

from __future__ import annotations

import os
import sys
from functools import cache, partialmethod
from typing import Any


class Logger:
    """A named logger; `event` is a short dotted name, everything else is a key of its own."""

    def __init__(self, name: str) -> None:
        self._name = name

    def _emit(self, level: str, event: str, **fields: Any) -> None:
        getattr(_backend(), level)(event, logger=self._name, **fields)

    debug = partialmethod(_emit, "debug")
    """Detail for whoever develops Genie or a plugin."""
    info = partialmethod(_emit, "info")
    """Something normal that an operator may want to know."""
    warning = partialmethod(_emit, "warning")
    """Something went another way than asked for; work goes on."""
    error = partialmethod(_emit, "error")
    """Something failed, and somebody must act."""


def get_logger(name: str) -> Logger:
    """Return a logger for a module or plugin; costs nothing until its first event."""
    return Logger(name)


class _Stderr:
    """Writes to whatever `sys.stderr` is at the time, as tests and notebooks replace it."""

    def msg(self, message: str) -> None:
        stream = sys.stderr
        if stream is not None:  # pythonw and some daemons have none
            stream.write(message + "\n")
            stream.flush()

    debug = info = warning = error = critical = msg


@cache
def _backend() -> Any:
    import structlog

    from genie_core.settings import LOG_LEVELS

    # A bad level is reported where settings are read; a log call must not raise.
    level = os.environ.get("GENIE_LOG", "").strip().lower() or "warning"
    level = level if level in LOG_LEVELS else "warning"
    colors = sys.stderr is not None and sys.stderr.isatty()
    return structlog.wrap_logger(
        _Stderr(),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=colors),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
