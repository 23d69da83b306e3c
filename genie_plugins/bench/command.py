"""The command `genie bench`."""

from __future__ import annotations

import sys

import rich_click as click


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(name: str, as_json: bool) -> None:
    """Measure one thing: capture, models, …  An unknown NAME lists those that there are."""
    from genie_plugins.bench.run import run

    sys.exit(run(name, as_json))
