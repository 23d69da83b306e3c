"""The command `genie demo`."""

from __future__ import annotations

import sys

import rich_click as click


@click.command()
def demo() -> None:
    """Train a CNN and generate text on an executor in another process; compare with the CPU."""
    from genie_plugins.demo.run import run

    sys.exit(run())
