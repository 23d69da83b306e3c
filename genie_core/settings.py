"""Settings, from environment variables, checked where they are read."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING, Any

import attrs

from genie_core.errors import SettingsError
from genie_core.protocol import MOST_PROGRAMS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://\S*")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise ValueError("give names, separated by commas")
    return names


def _devices(text: str) -> tuple[str, ...]:
    for url in _names(text):
        if not _URL.fullmatch(url):
            raise ValueError(
                f"{url!r} is no address; give addresses such as tcp://host:7070 or inproc://, "
                "separated by commas"
            )
    return _names(text)


def _switch(text: str) -> bool:
    if text.lower() not in _ON + _OFF:
        raise ValueError("give 1 (on) or 0 (off)")
    return text.lower() in _ON


def _level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"give one of {', '.join(LOG_LEVELS)}")
    return text.lower()


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) <= 86_400:
            return float(text)
    raise ValueError("give seconds, above 0 and at most 86400")


def _size(text: str) -> int:
    if not text.isdecimal() or not 1024 <= int(text) <= 1 << 62:
        raise ValueError("give a whole number of bytes, at least 1024")
    return int(text)


def _programs(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROGRAMS:
        raise ValueError(f"give a whole number, at least 1 and at most {MOST_PROGRAMS}")
    return int(text)


def _setting(variable: str, parse: Callable[[str], Any], *, default: Any) -> Any:
    return attrs.field(default=default, metadata={"variable": variable, "parse": parse})


@attrs.frozen
class Settings:
    """What a user may set for one process, each by an environment variable.

    `connect_timeout` is in seconds, `max_message` in bytes. `max_programs` are remembered for each
    device, on both sides; beyond, the one that was not run for longest is forgotten. `plugins` is
    None where all installed plugins may load. `passes` are names to switch on, or with a "-" off;
    "all" is any. `token_file` holds what a client shows at a `tls://` address; the `tls_` files
    are PEM: whom to trust, the certificate to show, and its key where that is a file apart.
    `inductor` has an executor compile hot programs; results may differ in their last bits.
    """

    devices: tuple[str, ...] = _setting("GENIE_DEVICES", _devices, default=("inproc://",))
    plugins: tuple[str, ...] | None = _setting("GENIE_PLUGINS", _names, default=None)
    block_plugins: tuple[str, ...] = _setting("GENIE_BLOCK_PLUGINS", _names, default=())
    passes: tuple[str, ...] = _setting("GENIE_PASSES", _names, default=())
    inductor: bool = _setting("GENIE_INDUCTOR", _switch, default=False)
    trace_hooks: bool = _setting("GENIE_TRACE_HOOKS", _switch, default=False)
    log: str = _setting("GENIE_LOG", _level, default="warning")
    connect_timeout: float = _setting("GENIE_CONNECT_TIMEOUT", _seconds, default=10.0)
    max_message: int = _setting("GENIE_MAX_MESSAGE", _size, default=8 << 30)
    max_programs: int = _setting("GENIE_MAX_PROGRAMS", _programs, default=1024)
    token_file: str = _setting("GENIE_TOKEN_FILE", os.path.expanduser, default="")
    tls_ca: str = _setting("GENIE_TLS_CA", os.path.expanduser, default="")
    tls_cert: str = _setting("GENIE_TLS_CERT", os.path.expanduser, default="")
    tls_key: str = _setting("GENIE_TLS_KEY", os.path.expanduser, default="")

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Settings:
        """Read the `GENIE_…` variables of `environ`; unset and empty ones keep their default.

        Raises `SettingsError`, which names the variable, its value and what is allowed.
        """
        found: dict[str, Any] = {}
        for field in attrs.fields(cls):
            variable = field.metadata["variable"]
            text = environ.get(variable, "").strip()
            try:
                if text:
                    found[field.name] = field.metadata["parse"](text)
            except ValueError as error:
                raise SettingsError(variable, text, str(error)) from None
        return cls(**found)
