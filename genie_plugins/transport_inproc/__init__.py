"""An executor embedded in the client's own process: the address `inproc://`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from genie_core.contracts import Channel
    from genie_core.settings import Settings


@genie_core.hookimpl
def genie_open_transport(url: str, settings: Settings) -> Channel | None:
    """Start an executor on a thread of this process and connect to it.

    `inproc://` takes CUDA where there is one, else the CPU; `inproc://?device=cpu` says which.
    """
    if not url.startswith("inproc:"):
        return None
    from genie_plugins.transport_inproc.embedded import open_embedded

    return open_embedded(url, settings)
