"""What `torch.remote_accelerator` has beyond devices: names, memory, random, streams, autocast."""

from __future__ import annotations

import genie_core


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """The functions and classes of this folder."""
    from genie_plugins.device_api import autocast, info, memory, random, streams

    parts = (autocast, info, memory, random, streams)
    return {name: getattr(part, name) for part in parts for name in part.__all__}
