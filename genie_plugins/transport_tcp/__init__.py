"""Messages over sockets: addresses `tcp://host:port`, `tls://host:port` and `unix:///path`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from genie_core.contracts import Channel, Listener
    from genie_core.settings import Settings


@genie_core.hookimpl
def genie_open_transport(url: str, settings: Settings) -> Channel | None:
    """Connect to `tcp://host:port`, `tls://host:port` or `unix:///path`."""
    from genie_plugins.transport_tcp.schemes import CONNECT

    connect = CONNECT.get(url.partition(":")[0])
    return connect(url, settings) if connect else None


@genie_core.hookimpl
def genie_open_listener(url: str, settings: Settings) -> Listener | None:
    """Listen on such an address; a port of 0 is a free one, and `tcp://` is for loopback only."""
    from genie_plugins.transport_tcp.schemes import LISTEN

    listen = LISTEN.get(url.partition(":")[0])
    return listen(url, settings) if listen else None
