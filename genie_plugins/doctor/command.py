"""The commands `genie doctor` and `genie plugins`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import attrs
import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STYLE = {"ok": "green", "loaded": "green", "note": "yellow", "blocked": "yellow"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check the installation: what is missing, and how to get it. Exits 1 if something is."""
    from genie_plugins.doctor.checks import examine

    checks = examine()
    if as_json:
        _print_json(checks)
    else:
        headings = ("what", "state", "found", "what to do")
        _print_table("Installation", headings, map(attrs.astuple, checks))
    sys.exit(any(check.state == "missing" for check in checks))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """Show every plugin: version, hooks, state, and why one is not loaded."""
    from genie_core.plugins import manager
    from genie_plugins.doctor.listing import listing

    rows = listing(manager())
    if as_json:
        _print_json(rows)
        return
    cells = (
        (
            row.name,
            f"{row.dist} {row.version}".strip(),
            row.state,
            "\n".join(hook.removeprefix("genie_") for hook in row.hooks),
            row.reason,
        )
        for row in rows
    )
    _print_table("Plugins", ("name", "version", "state", "hooks", "why not"), cells)


def _print_json(rows: Sequence[attrs.AttrsInstance]) -> None:
    click.echo(json.dumps([attrs.asdict(row) for row in rows], indent=2))


def _print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    def cell(heading: str, text: str) -> Text:
        return Text(text, _STYLE.get(text, "red") if heading == "state" else "")

    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(cell, headings, row))
    Console().print(table)
