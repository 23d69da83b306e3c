"""What `torch.remote_accelerator` has beyond the core's: memory, streams, events, names."""

from __future__ import annotations

import genie_core


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """The functions and classes of this folder."""
    from genie_plugins.device_api import info, memory, random, streams

    parts = (info, memory, random, streams)
    return {name: getattr(part, name) for part in parts for name in part.__all__}
