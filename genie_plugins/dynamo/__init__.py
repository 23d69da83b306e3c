"""`torch.compile` on the device: graphs that Dynamo captured go to the executor as programs."""

from __future__ import annotations

import genie_core


@genie_core.hookimpl
def genie_session_opened() -> None:
    """Tell Dynamo of the device, where Dynamo is loaded already."""
    from genie_plugins.dynamo.registration import register_if_loaded

    register_if_loaded()


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """`torch.remote_accelerator.compiled`."""
    from genie_plugins.dynamo.counts import compiled

    return {"compiled": compiled}
