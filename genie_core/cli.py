"""The command `genie`. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import rich_click as click

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from genie_core.doctor import Check
    from genie_core.plugins import PluginStatus

_STATE_STYLE = {"loaded": "green", "blocked": "yellow", "ok": "green", "note": "yellow"}


class _Genie(click.RichGroup):
    """The command group; plugins are loaded only where one of their commands may be meant."""

    _extended = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        self._extend()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._extend()
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GenieError as error:
            raise click.ClickException(str(error)) from error

    def _extend(self) -> None:
        """Let plugins add commands, once; a plugin at fault is named, and costs its own only."""
        if self._extended:
            return
        self._extended = True
        from genie_core.plugins import manager

        own = dict(self.commands)
        try:
            manager().hook.genie_cli(cli=self)
        except GenieError as error:
            click.echo(f"genie: {error}", err=True)
        self.commands.update(own)


@click.group(cls=_Genie, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="genie-remote", prog_name="genie")
def main() -> None:
    """A network-attached accelerator as an ordinary PyTorch device."""


@main.command()
def demo() -> None:
    """Train a CNN and generate text on an executor in another process; compare with the CPU."""
    from genie_core.demo import run

    sys.exit(run())


@main.command()
@click.argument("url")
@click.option(
    "--device", default="", help="cpu, cuda:0, …  [default: cuda:0 where there is one, else cpu]"
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    help="CPU threads for computing; 0 leaves it to torch.",
)
@click.option(
    "--grace",
    type=click.FloatRange(min=0),
    default=5.0,
    show_default=True,
    metavar="SECONDS",
    help="How long connected clients may go on after SIGTERM.",
)
def serve(url: str, device: str, threads: int, grace: float) -> None:
    """Run programs for clients: the far side of a device.

    URL is the address to listen on, such as tcp://127.0.0.1:7070; port 0 is any free one.
    The first line on stdout is the address that clients connect to. Ends on SIGTERM or Ctrl-C.
    """
    from genie_core.serving import serve as run
    from genie_core.settings import Settings

    def announce(real_url: str, real_device: str) -> None:
        click.echo(real_url)
        click.echo(f"genie: serving {real_device}; stop with SIGTERM or Ctrl-C", err=True)
        sys.stdout.flush()

    run(url, device, Settings.from_env(), announce, threads=threads, grace=grace)
    click.echo("genie: stopped", err=True)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """Show every plugin: version, hooks, state, and why one is not loaded."""
    from genie_core.plugins import manager

    rows = manager().status()
    if as_json:
        _print_json(rows)
    else:
        _show_plugins(rows)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Check the installation: what is missing, and how to get it. Exits 1 if something is."""
    from genie_core.doctor import examine

    checks = examine()
    if as_json:
        _print_json(checks)
    else:
        _show_checks(checks)
    sys.exit(any(check.state == "missing" for check in checks))


@main.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bench(name: str, as_json: bool) -> None:
    """Measure one thing: capture, models, …  An unknown NAME lists those that there are."""
    from genie_core.bench import run

    sys.exit(run(name, as_json))


def _print_json(rows: Sequence[Any]) -> None:
    import json

    import attrs

    click.echo(json.dumps([attrs.asdict(row) for row in rows], indent=2))


def _console() -> Console:
    from rich.console import Console

    return Console()


def _show_plugins(rows: Sequence[PluginStatus]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Plugins", title_justify="left")
    for heading in ("name", "version", "state", "hooks", "why not"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        state = Text(row.state, _STATE_STYLE.get(row.state, "red"))
        version = Text(f"{row.dist} {row.version}".strip())
        hooks = Text("\n".join(hook.removeprefix("genie_") for hook in row.hooks))
        table.add_row(Text(row.name), version, state, hooks, Text(row.reason))
    _console().print(table)


def _show_checks(checks: Sequence[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Installation", title_justify="left")
    for heading in ("what", "state", "found", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        state = Text(check.state, _STATE_STYLE.get(check.state, "red"))
        table.add_row(Text(check.name), state, Text(check.found), Text(check.remedy))
    _console().print(table)


if __name__ == "__main__":
    main(prog_name="genie")
