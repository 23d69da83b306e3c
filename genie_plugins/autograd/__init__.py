"""Which part of training a node belongs to, and which forward node a backward node differentiates.

The engine's own formulas run over recorded ops; this plugin only says what they are for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import torch.fx


@genie_core.hookimpl
def genie_annotate(graph: torch.fx.Graph) -> None:
    """Mark nodes with their phase, and those of a backward with their forward node."""
    from genie_plugins.autograd.phases import annotate

    annotate(graph)


@genie_core.hookimpl
def genie_session_opened() -> None:
    """Notice optimizer steps from now on."""
    from genie_plugins.autograd.optimizers import watch

    watch()
