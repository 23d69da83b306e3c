"""The command `genie explain`."""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

import rich_click as click


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; the script's output is stderr's."
)
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to this file."
)
@click.argument("script", type=click.Path(exists=True, dir_okay=False))
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def explain(as_json: bool, html: Path | None, script: str, args: tuple[str, ...]) -> None:
    """Run SCRIPT as it is, and show what was recorded: programs, their meaning, their flushes.

    As text, as JSON, or as a page of HTML that needs nothing else. Exits as the script does.
    """
    import genie_core

    html = _writable(html) if html else None
    with genie_core.explain() as explanation:
        aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
        with aside:
            status = _run(script, args)
    if html:
        explanation.save_html(html, os.path.basename(script))
        click.echo(f"wrote {html}", err=True)
    if as_json:
        click.echo(json.dumps(explanation.as_dict(), indent=2))
    elif not html:
        click.echo(str(explanation))
    sys.exit(status)


def _writable(path: Path) -> Path:
    """The absolute path; raises at once, not after the script, for what cannot be written."""
    try:
        path.open("a").close()
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--html") from error
    return path.absolute()


def _run(script: str, args: tuple[str, ...]) -> int:
    """Run a script as `python script args` would; returns its exit status."""
    before = sys.argv, sys.path[:]
    sys.argv = [script, *args]
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        return _status(error.code)
    except Exception:  # the script's own: what it did until then is shown all the same
        traceback.print_exc()
        return 1
    finally:
        sys.argv, sys.path[:] = before
    return 0


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return int(code or 0)
    click.echo(code, err=True)
    return 1
