"""What a run was made of: its programs, what their ops mean, and why each flush happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import click

    from genie_core._native import Sealed
    from genie_core.program import EncodedProgram


@genie_core.hookimpl
def genie_cli(cli: click.Group) -> None:
    """Add `genie explain`."""
    from genie_plugins.explain.command import explain

    cli.add_command(explain)


@genie_core.hookimpl
def genie_device_api() -> dict[str, object]:
    """`torch.remote_accelerator.explain`, which is `genie_core.explain` too."""
    from genie_plugins.explain.explanation import explain

    return {"explain": explain}


@genie_core.hookimpl
def genie_flushed(
    device: int, reason: str, where: str, sealed: Sealed, program: EncodedProgram | None
) -> None:
    """Keep the flush in each explanation that is open."""
    from genie_plugins.explain.explanation import keep

    keep(device, sealed, program, (reason, where))
