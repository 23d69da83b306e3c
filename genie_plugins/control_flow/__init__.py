"""Control flow on the device: branches and loops that the executor decides by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import torch.fx


@genie_core.hookimpl
def genie_session_opened() -> None:
    """Have torch's control flow recorded from now on."""
    from genie_plugins.control_flow.install import install

    install()


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """`torch.remote_accelerator.generate` and `stream_tokens`."""
    from genie_plugins.control_flow.generation import generate, stream_tokens

    return {"generate": generate, "stream_tokens": stream_tokens}


@genie_core.hookimpl
def genie_annotate(graph: torch.fx.Graph) -> None:
    """Tell each node that runs regions which graphs these are."""
    from genie_plugins.control_flow.regions import attach

    attach(graph)
