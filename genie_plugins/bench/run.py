"""`genie bench NAME`: runs one benchmark and shows its rows."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.columns import Columns
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

NAMES = (
    "capture",
    "compile",
    "control_flow",
    "dynamic_shapes",
    "models",
    "patterns",
    "rewrites",
    "semantics",
    "startup",
    "transport",
)
Row = Mapping[str, Any]


def run(name: str, as_json: bool) -> int:
    """Run the benchmark `name` (one of `NAMES`) and print it as a table, or as JSON.

    A benchmark is a module of `genie_benchmarks` whose `run()` returns rows of equal keys, or
    such rows at `rows` of a mapping, which may have more for JSON: numbers, and at other keys
    further tables: rows, or a mapping of names to them.
    Returns the exit status: 0, or 2 for a name that does not exist.
    """
    console = Console()
    if name not in NAMES:
        console.print(f"no benchmark {name!r}: choose one of {', '.join(NAMES)}")
        return 2
    module = importlib.import_module(f"genie_benchmarks.{name}")
    result: list[dict[str, Any]] | dict[str, Any] = module.run()
    found = result if isinstance(result, dict) else {"rows": result}
    if as_json:
        print(_json(name, found))
        return 0
    for key, rows in _tables(found):
        title = (module.__doc__ or name).splitlines()[0] if key == "rows" else _words(key)
        _show(console, title, rows)
    return 0


def _json(name: str, found: Mapping[str, Any]) -> str:
    import torch

    return json.dumps({"benchmark": name, "torch": torch.__version__, **found}, indent=2)


def _tables(found: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[Row]]]:
    """The tables of a result, that of `rows` last: it is what one looks for."""
    for key in sorted(found, key=lambda key: key == "rows"):
        table = found[key]
        if isinstance(table, dict):
            yield key, [{"name": name, **row} for name, row in table.items()]
        elif isinstance(table, list) and table:
            yield key, table


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
