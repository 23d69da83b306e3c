"""`genie doctor` and `genie plugins`: what there is, what is missing, and how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    import click


@genie_core.hookimpl
def genie_cli(cli: click.Group) -> None:
    """Add `genie doctor` and `genie plugins`."""
    from genie_plugins.doctor.command import doctor, plugins

    cli.add_command(doctor)
    cli.add_command(plugins)
