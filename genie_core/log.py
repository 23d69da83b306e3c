"""Structured events on stderr, through structlog, which is imported at the first event only.

The process's own structlog configuration is left alone: Genie is a guest in it.
"""

from __future__ import annotations

import os
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def get_logger(name: str) -> FilteringBoundLogger:
    """Return structlog's logger for a module or plugin; costs nothing until its first event.

    An event is a short dotted name; everything else about it is a keyword of its own.
    """
    return cast("FilteringBoundLogger", _Lazy(name))


class _Lazy:
    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, method: str) -> Any:
        return partial(getattr(_backend(), method), logger=self._name)


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
