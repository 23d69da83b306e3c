"""Messages over sockets: addresses `tcp://host:port` and `unix:///path`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from genie_core.contracts import Channel, Listener
    from genie_core.settings import Settings


@genie_core.hookimpl
def genie_open_transport(url: str, settings: Settings) -> Channel | None:
    """Connect to `tcp://host:port` or `unix:///path`."""
    scheme = url.partition(":")[0]
    if scheme == "tcp":
        from genie_plugins.transport_tcp.endpoint import connect
    elif scheme == "unix":
        from genie_plugins.transport_tcp.unix import connect
    else:
        return None
    return connect(url, settings.connect_timeout, settings.max_message)


@genie_core.hookimpl
def genie_open_listener(url: str, settings: Settings) -> Listener | None:
    """Listen on a loopback `tcp://host:port`, where port 0 is a free one, or on `unix:///path`."""
    scheme = url.partition(":")[0]
    if scheme == "tcp":
        from genie_plugins.transport_tcp.endpoint import listen
    elif scheme == "unix":
        from genie_plugins.transport_tcp.unix import listen
    else:
        return None
    return listen(url, settings.max_message)
