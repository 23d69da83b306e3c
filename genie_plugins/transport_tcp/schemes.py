"""Which addresses this transport knows; a module is imported when its scheme is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from genie_core.errors import SettingsError

if TYPE_CHECKING:
    from genie_core.contracts import Channel, Listener
    from genie_core.settings import Settings


def _connect_tcp(url: str, settings: Settings) -> Channel:
    from genie_plugins.transport_tcp.endpoint import connect

    return connect(url, settings.connect_timeout, settings.max_message)


def _connect_tls(url: str, settings: Settings) -> Channel:
    from genie_plugins.transport_tcp.secure import connect

    return connect(url, settings)


def _connect_unix(url: str, settings: Settings) -> Channel:
    from genie_plugins.transport_tcp.unix import connect

    return connect(url, settings.connect_timeout, settings.max_message)


def _listen_tcp(url: str, settings: Settings) -> Listener:
    from genie_plugins.transport_tcp.endpoint import listen

    _refuse_token(url, settings)
    return listen(url, settings.max_message)


def _listen_tls(url: str, settings: Settings) -> Listener:
    from genie_plugins.transport_tcp.gate import listen

    return listen(url, settings)


def _listen_unix(url: str, settings: Settings) -> Listener:
    from genie_plugins.transport_tcp.unix import listen

    _refuse_token(url, settings)
    return listen(url, settings.max_message)


def _refuse_token(url: str, settings: Settings) -> None:
    """Raise `SettingsError` where a token is set that nobody would ask for."""
    if settings.token_file:
        reason = "clients are asked for a token at tls:// addresses only; leave out --token-file"
        raise SettingsError("URL", url, f"{reason} (and GENIE_TOKEN_FILE)")


CONNECT: dict[str, Callable[[str, Settings], Channel]] = {
    "tcp": _connect_tcp,
    "tls": _connect_tls,
    "unix": _connect_unix,
}
LISTEN: dict[str, Callable[[str, Settings], Listener]] = {
    "tcp": _listen_tcp,
    "tls": _listen_tls,
    "unix": _listen_unix,
}
