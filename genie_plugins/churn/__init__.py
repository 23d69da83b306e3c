"""Warns of work that keeps becoming new programs, and names what changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import torch.fx


@genie_core.hookimpl(trylast=True)
def genie_annotate(graph: torch.fx.Graph) -> None:
    """Compare a new program with the last one that began at the same place."""
    from genie_plugins.churn.watch import watch

    watch.see(graph)
