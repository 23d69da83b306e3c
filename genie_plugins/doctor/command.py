"""The command `genie doctor`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import attrs
import rich_click as click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genie_plugins.doctor.checks import Check

_STYLE = {"ok": "green", "note": "yellow", "missing": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check the installation: what is missing, and how to get it. Exits 1 if something is."""
    from genie_plugins.doctor.checks import examine

    checks = examine()
    if as_json:
        click.echo(json.dumps([attrs.asdict(check) for check in checks], indent=2))
    else:
        _show(checks)
    sys.exit(any(check.state == "missing" for check in checks))


def _show(checks: Sequence[Check]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Installation", title_justify="left")
    for heading in ("what", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        state = Text(check.state, _STYLE[check.state])
        table.add_row(Text(check.name), state, Text(check.found), Text(check.remedy))
    Console().print(table)
