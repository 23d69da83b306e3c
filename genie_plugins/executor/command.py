"""The command `genie serve`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import attrs
import rich_click as click


def _file(name: str, text: str, variable: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.Path(dir_okay=False), help=f"{text}  [or: {variable}]")


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
@_file("--token-file", "What clients have to show at a tls:// address.", "GENIE_TOKEN_FILE")
@_file("--tls-cert", "The certificate to show at a tls:// address, PEM.", "GENIE_TLS_CERT")
@_file("--tls-key", "Its key, where that is a file apart, PEM.", "GENIE_TLS_KEY")
@_file("--tls-ca", "Who must have signed clients' certificates, PEM.", "GENIE_TLS_CA")
def serve(url: str, device: str, threads: int, grace: float, **files: str | None) -> None:
    """Run programs for clients: the far side of a device.

    URL is the address to listen on, such as tcp://127.0.0.1:7070; port 0 is any free one. Others
    than loopback ones need TLS: tls://0.0.0.0:7070, with a certificate and a token.
    The first line on stdout is the address that clients connect to. Ends on SIGTERM or Ctrl-C.
    """
    from genie_core.settings import Settings
    from genie_plugins.executor.serving import serve as run

    def announce(real_url: str, real_device: str) -> None:
        click.echo(real_url)
        click.echo(f"genie: serving {real_device}; stop with SIGTERM or Ctrl-C", err=True)
        sys.stdout.flush()

    given: dict[str, Any] = {name: path for name, path in files.items() if path}
    settings = attrs.evolve(Settings.from_env(), **given)
    run(url, device, settings, announce, threads=threads, grace=grace)
    click.echo("genie: stopped", err=True)
