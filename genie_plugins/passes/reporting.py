"""What became of rewrites."""

from __future__ import annotations

import attrs
import torch


@attrs.frozen
class Outcome:
    """What the executor says of a program's rewrite."""

    program: int
    state: str
    """unchecked, accepted or refused"""
    reason: str
    """Why it was refused."""
    error: float
    """The largest difference, of the largest number of the tensor in which it was."""
    seconds_before: float
    seconds_after: float
    """Of the run in which both were compared, the rewrite second."""


def rewrites(device: torch.types.Device = None) -> list[Outcome]:
    """What became of each rewrite on a device, by default the current one."""
    from genie_core import _native
    from genie_core.dispatcher import dispatcher

    named = None if device is None else torch.device(device)
    index = named.index if named is not None else None
    session = dispatcher.session(_native.current_device() if index is None else index)
    return [Outcome(*row) for row in sorted(session.report().rewrites)]
