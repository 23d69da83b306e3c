"""Runs TorchCTS on the device, part by part, and writes the page about it.

Results are kept in a folder, so that a run of hours can be done in several goes.
"""

from __future__ import annotations

import importlib.util
import pathlib
import subprocess
import sys

import click

sys.path.insert(0, str(pathlib.Path(__file__).parent))

import control
import report

PARTS: dict[str, tuple[str, ...]] = {
    "handwritten": (
        "autograd", "compiler", "device_api", "dtypes", "errors", "memory", "multi_device",
        "operators", "rng", "serialization", "stress", "strides", "training", "workloads",
    ),
    "generated": ("generated",),
    "opinfo": ("opinfo",),
}  # fmt: skip
OPTIONS = {"smoke": ["--level", "1"], "training": ["--level", "2", "--max-samples", "1"]}
TRIES = 5  # a test that crashed is run in a process of its own the next time


@click.command()
@click.option("--template", "templates", multiple=True, type=click.Choice(list(OPTIONS)))
@click.option("--part", "parts", multiple=True, type=click.Choice(list(PARTS)))
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
    for template in templates or tuple(OPTIONS):
        for part in parts or tuple(PARTS):
            folder = (results / f"{template}-{part}").resolve()
            if not report_only:
                run(template, part, device, folder)
            found += report.load(template, part, folder)
    failing = [result for result in found if result.failed]
    alike = control.fail_on_the_cpu(failing, results.resolve() / "control")
    if page is not None:
        page.write_text(report.as_markdown(found, alike), encoding="utf-8")
    rate = report.pass_rate(found)
    click.echo(f"{rate:.2%} of {len(found)} executed tests pass (wanted {threshold:.0%})")
    sys.exit(rate < threshold)


def run(template: str, part: str, device: str, folder: pathlib.Path) -> None:
    """Run one part until it ends by itself."""
    folder.mkdir(parents=True, exist_ok=True)
    torchcts = [sys.executable, "-m", "torchcts"]
    if not (folder / "manifest.py").exists():
        init = [*torchcts, "init", "--template", template, "--non-interactive"]
        subprocess.run(init, cwd=folder, check=True)
    paths = [str(package() / name) for name in PARTS[part]]
    command = [*torchcts, "run", "--device", device, *OPTIONS[template], "--non-interactive"]
    command += ["--results-dir", str(folder / "results"), "-p", "no:cacheprovider", *paths]
    for _ in range(TRIES):
        if subprocess.run(command, cwd=folder).returncode >= 0:
            return


def package() -> pathlib.Path:
    """The folder of TorchCTS, which is not imported for it: that takes a device."""
    spec = importlib.util.find_spec("torchcts")
    if spec is None or spec.origin is None:
        raise click.ClickException("pip install --no-deps torchcts (it asks for an older torch)")
    return pathlib.Path(spec.origin).parent


if __name__ == "__main__":
    main()
