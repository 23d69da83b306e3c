"""`genie demo`: the main job, compared with the local CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import click


@genie_core.hookimpl
def genie_cli(cli: click.Group) -> None:
    """Add `genie demo`."""
    from genie_plugins.demo.command import demo

    cli.add_command(demo)
