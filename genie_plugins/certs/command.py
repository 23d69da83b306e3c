"""The command `genie certs`."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import rich_click as click

INSTALL = "it needs the package `cryptography`: pip install 'genie-remote[tls]'"
_NEXT = """\
genie: on the executor's machine, with server.pem, server.key and token:
  genie serve tls://0.0.0.0:7070 --tls-cert {0}/server.pem --tls-key {0}/server.key \\
    --token-file {0}/token
genie: where the script is, with ca.pem and token:
  GENIE_DEVICES=tls://HOST:7070 GENIE_TLS_CA={0}/ca.pem GENIE_TOKEN_FILE={0}/token
genie: ca.key signs further certificates: keep it away from both"""


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option(
    "--host",
    "hosts",
    multiple=True,
    help="A name or IP address that clients reach the executor by; give any number of them.  "
    "[default: this machine's name, localhost, 127.0.0.1, ::1]",
)
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    help="How long the certificates are valid.",
)
def certs(folder: Path, hosts: tuple[str, ...], days: int) -> None:
    """Make certificates and a token in FOLDER, for an executor at a tls:// address.

    ca.pem and ca.key are an authority of your own; server.pem and server.key are for the executor,
    client.pem and client.key for clients of one that asks for certificates (--tls-ca); token is
    what they show else. Files that are there already are never replaced.
    """
    if importlib.util.find_spec("cryptography") is None:
        raise click.ClickException(INSTALL)
    from genie_plugins.certs.authority import this_machine
    from genie_plugins.certs.folder import fill

    try:
        made = fill(folder, hosts or this_machine(), days)
    except FileExistsError as error:
        reason = f"{error.filename} is there already; name another folder, or remove it first"
        raise click.ClickException(reason) from error
    except OSError as error:
        reason = f"cannot write {error.filename or folder}: {error.strerror or error}"
        raise click.ClickException(reason) from error
    except ValueError as error:
        raise click.ClickException(f"--host: {error}") from error
    for path in made:
        click.echo(path)
    click.echo(_NEXT.format(folder), err=True)
