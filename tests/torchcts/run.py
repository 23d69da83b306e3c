"""Runs TorchCTS on the device, part by part, and writes the page about it.

Results are kept in a folder, so that a run can be done in several goes.
"""

from __future__ import annotations

import pathlib
import sys

import click

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import control
import report
import suite


@click.command()
@click.option("--template", "templates", multiple=True, type=click.Choice(list(suite.OPTIONS)))
@click.option("--part", "parts", multiple=True, type=click.Choice(list(suite.PARTS)))
@click.option("--device", default="remote_accelerator", show_default=True)
@click.option("--results", default="torchcts", type=click.Path(path_type=pathlib.Path))
@click.option("--write", "page", type=click.Path(path_type=pathlib.Path), help="Page to write.")
@click.option("--threshold", default=0.98, show_default=True, help="Pass rate for exit status 0.")
@click.option("--report-only", is_flag=True, help="Run nothing.")
def main(
    templates: tuple[str, ...],
    parts: tuple[str, ...],
    device: str,
    results: pathlib.Path,
    page: pathlib.Path | None,
    threshold: float,
    report_only: bool,
) -> None:
    """Run templates of TorchCTS (default: both) in parts (default: all); exit 1 below the bar."""
    found = []
    for template in templates or tuple(suite.OPTIONS):
        for part in parts or tuple(suite.PARTS):
            folder = (results / f"{template}-{part}").resolve()
            if not report_only:
                tests = [str(suite.package() / name) for name in suite.PARTS[part]]
                suite.run(template, device, folder, tests)
            found += report.load(template, part, folder)
    failing = [result for result in found if result.failed]
    on_cpu = control.on_the_cpu(failing, results.resolve() / "control")
    if page is not None:
        page.write_text(report.as_markdown(found, on_cpu), encoding="utf-8")
    rate = report.pass_rate(found)
    click.echo(f"{rate:.2%} of {len(found)} executed tests pass (wanted {threshold:.0%})")
    sys.exit(rate < threshold)


if __name__ == "__main__":
    main()
