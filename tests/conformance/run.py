"""Runs torch's databases of operators and modules against the CPU and writes the page about it."""

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

from conformance import page, report
from conformance.cases import DTYPES, all_cases, examine, names
from conformance.pool import examine_all

KINDS = ("op", "module")
OTHER_PAGES = ("models.md", "torchcts.md")


@click.command()
@click.option("--device", default="remote_accelerator", show_default=True)
@click.option("--only", default="", metavar="REGEX", help="Entries whose name matches.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="One database.")
@click.option("--dtype", "dtypes", multiple=True, type=click.Choice(list(DTYPES)), help="Some.")
@click.option("--workers", default=2, show_default=True)
@click.option("--timeout", default=60.0, show_default=True, help="Seconds of silence that hang.")
@click.option("--budget", default=0.0, help="Seconds after which no case is begun (0: none).")
@click.option("--max-samples", default=0, help="Samples of an entry and dtype (0: all).")
@click.option("--threshold", default=0.99, show_default=True, help="Pass rate for exit status 0.")
@click.option("--write", "markdown", type=click.Path(path_type=pathlib.Path), help="Page to write.")
@click.option("--json", "as_json", type=click.Path(path_type=pathlib.Path), help="JSON to write.")
def main(
    device: str,
    only: str,
    kinds: tuple[str, ...],
    dtypes: tuple[str, ...],
    workers: int,
    timeout: float,
    budget: float,
    max_samples: int,
    threshold: float,
    markdown: pathlib.Path | None,
    as_json: pathlib.Path | None,
) -> None:
    """Run OpInfo's and ModuleInfo's samples on a device and on the CPU.

    The exit status is 1 if too few entries of either pass.
    """
    console = Console()
    wanted = re.compile(only).search
    kinds, dtypes = kinds or KINDS, dtypes or tuple(DTYPES)
    cases = all_cases(device, wanted, max_samples, kinds=kinds, dtypes=dtypes)
    running = examine_all(cases, examine, workers=workers, timeout=timeout, budget=budget)
    tracked = track(running, "Examining", total=len(cases), console=console)
    verdicts = [verdict for of_case in tracked for verdict in of_case]
    found = {
        kind: report.entries(kind, filter(wanted, names(kind)), verdicts)
        for kind in KINDS
        if kind in kinds
    }
    if markdown is not None:
        pages = [name for name in OTHER_PAGES if (markdown.parent / name).exists()]
        text = page.as_markdown(found, torch.__version__, max_samples=max_samples, elsewhere=pages)
        markdown.write_text(text, encoding="utf-8")
    if as_json is not None:
        as_json.write_text(report.as_json(found, torch.__version__) + "\n", encoding="utf-8")
    enough = [_tell(console, kind, members, threshold) for kind, members in found.items()]
    sys.exit(not all(enough))


def _tell(console: Console, kind: str, found: list[report.Entry], threshold: float) -> bool:
    for verdict in (verdict for entry in found for verdict in entry.verdicts):
        if verdict.status in report.BAD:
            what = f"{verdict.status:8} {verdict.name} {verdict.dtype} {verdict.way}"
            console.print(f"{what}: {verdict.reason}", highlight=False)
    if not found:
        return True
    rate = report.pass_rate(found)
    console.print(f"{rate:.2%} of {kind} entries that the CPU can run pass ({threshold:.0%} asked)")
    return rate >= threshold


if __name__ == "__main__":
    main()
