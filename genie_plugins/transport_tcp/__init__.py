"""Messages over TCP: addresses of the form `tcp://host:port`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from genie_core.contracts import Channel, Listener
    from genie_core.settings import Settings


@genie_core.hookimpl
def genie_open_transport(url: str, settings: Settings) -> Channel | None:
    """Connect to `tcp://host:port`."""
    if not url.startswith("tcp:"):
        return None
    from genie_plugins.transport_tcp.endpoint import connect

    return connect(url, settings.connect_timeout, settings.max_message)


@genie_core.hookimpl
def genie_open_listener(url: str, settings: Settings) -> Listener | None:
    """Listen on `tcp://host:port` of the loopback interface; port 0 picks a free one."""
    if not url.startswith("tcp:"):
        return None
    from genie_plugins.transport_tcp.endpoint import listen

    return listen(url, settings.max_message)
