"""Settings, from environment variables, checked where they are read."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import attrs

from genie_core.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_SWITCH = {"": False, "0": False, "false": False, "no": False, "off": False} | {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
}
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*")


@attrs.frozen
class Settings:
    """What a user may set for one process; see `VARIABLES` for where each comes from.

    `connect_timeout` is in seconds, `max_message` in bytes. `plugins` is None where all
    installed plugins may load.
    """

    devices: tuple[str, ...] = ("inproc://",)
    plugins: tuple[str, ...] | None = None
    block_plugins: tuple[str, ...] = ()
    trace_hooks: bool = False
    log: str = "warning"
    connect_timeout: float = 10.0
    max_message: int = 8 << 30

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the `GENIE_…` variables of `environ`; unset and empty ones keep their default.

        Raises `SettingsError`, which names the variable, its value and what is allowed.
        """
        found: dict[str, Any] = {}
        for field, (variable, parse) in VARIABLES.items():
            text = environ.get(variable, "").strip()
            if text:
                found[field] = parse(variable, text)
        return cls(**found)


def _names(variable: str, text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise SettingsError(variable, text, "give names, separated by commas")
    return names


def _devices(variable: str, text: str) -> tuple[str, ...]:
    urls = _names(variable, text)
    for url in urls:
        if not _URL.fullmatch(url):
            raise SettingsError(
                variable,
                text,
                f"{url!r} is no address; give addresses such as tcp://host:7070 or inproc://, "
                "separated by commas",
            )
    return urls


def _switch(variable: str, text: str) -> bool:
    try:
        return _SWITCH[text.lower()]
    except KeyError:
        raise SettingsError(variable, text, "give 1 (on) or 0 (off)") from None


def _level(variable: str, text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise SettingsError(variable, text, f"give one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _seconds(variable: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= 86_400:
        raise SettingsError(variable, text, "give seconds, above 0 and at most 86400")
    return seconds


def _size(variable: str, text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 1 << 62:
        raise SettingsError(variable, text, "give a whole number of bytes, at least 1024")
    return int(text)


VARIABLES = {
    "devices": ("GENIE_DEVICES", _devices),
    "plugins": ("GENIE_PLUGINS", _names),
    "block_plugins": ("GENIE_BLOCK_PLUGINS", _names),
    "trace_hooks": ("GENIE_TRACE_HOOKS", _switch),
    "log": ("GENIE_LOG", _level),
    "connect_timeout": ("GENIE_CONNECT_TIMEOUT", _seconds),
    "max_message": ("GENIE_MAX_MESSAGE", _size),
}
"""Each setting's environment variable, and the function that checks and converts its text."""
