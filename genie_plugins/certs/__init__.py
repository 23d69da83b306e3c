"""The command `genie certs`: a small certificate authority, for executors at `tls://` addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import click


@genie_core.hookimpl
def genie_cli(cli: click.Group) -> None:
    """Add `genie certs`."""
    from genie_plugins.certs.command import certs

    cli.add_command(certs)
