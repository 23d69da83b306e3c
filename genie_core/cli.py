"""The command `genie`: shows the plugins, which bring its other subcommands."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import rich_click as click

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genie_core.plugins import PluginStatus

_STATE_STYLE = {"loaded": "green", "blocked": "yellow"}


class _Genie(click.RichGroup):
    """The command group; plugins are loaded only where one of their commands may be meant."""

    _extended = False

    def list_commands(self, ctx: click.Context) -> list[str]:
        try:
            self._extend()
        except GenieError as error:  # help is shown all the same
            click.echo(f"genie: {error}", err=True)
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._extend()
        return super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            where = "Plugins bring commands: see `genie plugins`."
            raise click.UsageError(f"{error.message} {where}", ctx) from error

    def add_command(
        self, cmd: click.Command, name: str | None = None, *args: Any, **panel: Any
    ) -> None:
        if (name or cmd.name) in self.commands:
            raise ValueError(f"there is a command {name or cmd.name!r} already")
        super().add_command(cmd, name, *args, **panel)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GenieError as error:
            raise click.ClickException(str(error)) from error

    def _extend(self) -> None:
        """Let plugins add commands, once; a plugin at fault is named, and costs its own only."""
        if self._extended:
            return
        from genie_core.plugins import manager

        found = manager()
        self._extended = True
        for failure in found.call_each("genie_cli", cli=self):
            click.echo(f"genie: {failure}", err=True)


@click.group(cls=_Genie, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="genie-remote", prog_name="genie")
def main() -> None:
    """A network-attached accelerator as an ordinary PyTorch device."""


@main.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def plugins(as_json: bool) -> None:
    """Show every plugin: version, hooks, state, and why one is not loaded."""
    from genie_core.plugins import manager

    rows = manager().status()
    if as_json:
        click.echo(json.dumps([attrs.asdict(row) for row in rows], indent=2))
    else:
        _show_plugins(rows)


def _show_plugins(rows: Sequence[PluginStatus]) -> None:
    from rich.console import Console
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
    Console().print(table)


if __name__ == "__main__":
    main(prog_name="genie")
