"""`genie bench NAME`: runs one benchmark and shows its rows."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

NAMES = ("capture", "models", "rewrites", "semantics", "startup", "transport")
Row = Mapping[str, Any]


def run(name: str, as_json: bool) -> int:
    """Run the benchmark `name` (one of `NAMES`) and print it as a table, or as JSON.

    A benchmark is a module of `genie_benchmarks` whose `run()` returns rows of equal keys.
    Returns the exit status: 0, or 2 for a name that does not exist.
    """
    console = Console()
    if name not in NAMES:
        console.print(f"no benchmark {name!r}: choose one of {', '.join(NAMES)}")
        return 2
    module = importlib.import_module(f"genie_benchmarks.{name}")
    rows: list[dict[str, Any]] = module.run()
    if as_json:
        print(_json(name, rows))
    else:
        _show(console, (module.__doc__ or name).splitlines()[0], rows)
    return 0


def _json(name: str, rows: Sequence[Row]) -> str:
    import torch

    return json.dumps({"benchmark": name, "torch": torch.__version__, "rows": rows}, indent=2)


def _show(console: Console, title: str, rows: Sequence[Row]) -> None:
    """As a table where the console is wide enough for it, else row by row."""
    table = _table(title, rows)
    if _fits(console, rows):
        console.print(table)
        return
    console.print(f"[bold]{title}")
    for row in rows:
        names = [_cell(value) for value in row.values() if isinstance(value, str)]
        console.print("\n[bold]" + ", ".join(names), highlight=False)
        figures = {key: value for key, value in row.items() if not isinstance(value, str)}
        pairs = [f"{_words(key)} [cyan]{_cell(value)}[/]" for key, value in figures.items()]
        console.print(Padding(Columns(pairs, padding=(0, 3)), (0, 2)), highlight=False)


def _fits(console: Console, rows: Sequence[Row]) -> bool:
    widest = [[len(_cell(value)) for value in row.values()] for row in rows]
    columns = [max(column) for column in zip(*widest, strict=True)]
    return bool(sum(columns) + 3 * len(columns) + 1 <= console.width)


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title)
    for key in rows[0] if rows else ():
        numeric = isinstance(rows[0][key], (int, float))
        table.add_column(_words(key), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    return table


def _words(key: str) -> str:
    return key.replace("_", " ")


def _cell(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if value < 100 else f"{value:.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
