"""What became of rewrites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from genie_core.protocol import Outcome


def rewrites(device: torch.types.Device = None) -> list[Outcome]:
    """What became of each rewrite on a device, by default the current one."""
    from genie_core import _native
    from genie_core.dispatcher import dispatcher

    named = None if device is None else torch.device(device)
    index = named.index if named is not None else None
    session = dispatcher.session(_native.current_device() if index is None else index)
    return sorted(session.report().rewrites, key=lambda outcome: outcome.program)
