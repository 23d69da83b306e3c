"""Rewrites: other ops with a program's effect, found at its first sight.

Each pass has a name and a tolerance. Those that give the same bits are on; `GENIE_PASSES` switches
others on by name, or any off by "-name". The executor compares a rewrite with its program before
it prefers it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch.fx

    from genie_core._native import Sealed
    from genie_core.contracts import Pass
    from genie_core.protocol import Rewrite


@genie_core.hookimpl
def genie_rewrite(graph: torch.fx.Graph, sealed: Sealed) -> Rewrite | None:
    """Run every pass that is on, over a copy of the program."""
    from genie_plugins.passes.rewriting import rewrite

    return rewrite(graph, sealed)


@genie_core.hookimpl
def genie_passes() -> Sequence[Pass]:
    """Growing buffers, common subexpressions, constants, dead code."""
    from genie_plugins.passes.append import Append
    from genie_plugins.passes.common import CommonSubexpressions
    from genie_plugins.passes.constants import Constants
    from genie_plugins.passes.dead import DeadCode

    return (Append(), CommonSubexpressions(), Constants(), DeadCode())


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """`torch.remote_accelerator.rewrites`."""
    from genie_plugins.passes.reporting import rewrites

    return {"rewrites": rewrites}
