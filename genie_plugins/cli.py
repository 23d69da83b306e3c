"""The command `genie`, to which plugins bring the subcommands."""

from __future__ import annotations

from typing import Any

import rich_click as click

from genie_core.errors import GenieError


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
            from genie_core.plugins import manager

            hint = "Plugins bring commands, and `genie plugins` lists them."
            idle = [plugin for plugin in manager().plugins if plugin.state != "loaded"]
            why = [f"Not loaded: {plugin.name} ({plugin.reason})." for plugin in idle]
            raise click.UsageError(" ".join([error.message, hint, *why]), ctx) from error

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


if __name__ == "__main__":
    main(prog_name="genie")
