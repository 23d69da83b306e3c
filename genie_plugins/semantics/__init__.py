"""What the nodes of a graph mean: module, phase, role, residency, modality.

All of it is found at a program's first sight, from what the recorder noted, the graph, and the
modules and optimizers that live; an op that is recorded later costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from types import FrameType

    import torch.fx


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """`torch.remote_accelerator.annotate`, which is `genie_core.annotate` too."""
    from genie_plugins.semantics.annotation import annotate

    return {"annotate": annotate}


@genie_core.hookimpl
def genie_origin(frame: FrameType) -> object:
    """Say which module is being called, and how."""
    from genie_plugins.semantics.origin import describe

    return describe(frame)


@genie_core.hookimpl
def genie_annotate(graph: torch.fx.Graph) -> None:
    """Write all that can be told of each node into its `Semantics`."""
    from genie_plugins.semantics.annotate import annotate

    annotate(graph)


@genie_core.hookimpl
def genie_session_opened() -> None:
    """Notice optimizers from now on, for their state is theirs to know."""
    from genie_plugins.semantics.owners import watch_optimizers

    watch_optimizers()
