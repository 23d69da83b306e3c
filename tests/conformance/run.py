"""Runs the whole OpInfo database against the CPU and writes the page about it."""

from __future__ import annotations

import pathlib
import re
import sys

import click
import torch
from rich.console import Console
from rich.progress import track

# The folder of the tests is a path of pytest's, not of a script's.
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from conformance import report
from conformance.cases import all_cases, database, examine, full_name
from conformance.pool import examine_all


@click.command()
@click.option("--device", default="remote_accelerator", show_default=True)
@click.option("--only", default="", metavar="REGEX", help="Entries whose name matches.")
@click.option("--workers", default=2, show_default=True)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds of silence that hang.")
@click.option("--budget", default=0.0, help="Seconds after which no case is begun (0: none).")
@click.option("--max-samples", default=0, help="Samples of an entry and dtype (0: all).")
@click.option("--threshold", default=0.95, show_default=True, help="Pass rate for exit status 0.")
@click.option("--write", "markdown", type=click.Path(path_type=pathlib.Path), help="Page to write.")
@click.option("--json", "as_json", type=click.Path(path_type=pathlib.Path), help="JSON to write.")
def main(
    device: str,
    only: str,
    workers: int,
    timeout: float,
    budget: float,
    max_samples: int,
    threshold: float,
    markdown: pathlib.Path | None,
    as_json: pathlib.Path | None,
) -> None:
    """Run OpInfo's samples on a device and on the CPU; exit 1 below the threshold."""
    console = Console()
    wanted = re.compile(only).search
    cases = all_cases(device, wanted, max_samples)
    running = examine_all(cases, examine, workers=workers, timeout=timeout, budget=budget)
    verdicts = list(track(running, "Examining", total=len(cases), console=console))
    names = [full_name(op) for op in database() if wanted(full_name(op))]
    found = report.entries(names, verdicts)
    for path, render in ((markdown, report.as_markdown), (as_json, report.as_json)):
        if path is not None:
            path.write_text(render(found, torch.__version__) + "\n", encoding="utf-8")
    for entry in found:
        if entry.status not in ("passed", "excluded"):
            console.print(f"{entry.status:8} {entry.name}: {entry.reason}", highlight=False)
    rate = report.pass_rate(found)
    console.print(f"{rate:.2%} of the entries that the CPU can run pass (wanted {threshold:.0%})")
    sys.exit(rate < threshold)


if __name__ == "__main__":
    main()
