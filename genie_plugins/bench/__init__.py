"""`genie bench`: figures of this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import click


@genie_core.hookimpl
def genie_cli(cli: click.Group) -> None:
    """Add `genie bench`."""
    from genie_plugins.bench.command import bench

    cli.add_command(bench)
