"""The command `genie serve`."""

from __future__ import annotations

import sys

import rich_click as click


@click.command()
@click.argument("url")
@click.option(
    "--device", default="", help="cpu, cuda:0, …  [default: cuda:0 where there is one, else cpu]"
)
@click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    help="CPU threads for computing; 0 leaves it to torch and to each client.",
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
    from genie_core.settings import Settings
    from genie_plugins.executor.serving import serve as run

    def announce(real_url: str, real_device: str) -> None:
        click.echo(real_url)
        click.echo(f"genie: serving {real_device}; stop with SIGTERM or Ctrl-C", err=True)
        sys.stdout.flush()

    run(url, device, Settings.from_env(), announce, threads=threads, grace=grace)
    click.echo("genie: stopped", err=True)
