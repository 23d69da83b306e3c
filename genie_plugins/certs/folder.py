"""A folder of certificates, keys and a token, which its owner alone can read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from genie_plugins.certs.authority import Authority, Pair


def fill(folder: Path, hosts: Sequence[str], days: int) -> list[Path]:
    """Make an authority, a server's and a client's certificates, and a token; return the files.

    Raises `FileExistsError` where one of them is there, and then makes none; `OSError` or, for a
    host that is none, `ValueError`.
    """
    contents = _contents(hosts, days)
    paths = {name: folder / name for name in contents}
    for path in paths.values():
        if path.exists():
            raise FileExistsError(None, "there already", str(path))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in contents.items():
        _write(paths[name], content)
    return list(paths.values())


def _contents(hosts: Sequence[str], days: int) -> dict[str, bytes]:
    authority = Authority.make(days)
    server, client = authority.sign_server(hosts), authority.sign_client()
    return {
        **_files("ca", authority.pair),
        **_files("server", server),
        **_files("client", client),
        "token": secrets.token_urlsafe(32).encode() + b"\n",
    }


def _files(name: str, pair: Pair) -> dict[str, bytes]:
    return {f"{name}.pem": pair.certificate_pem, f"{name}.key": pair.key_pem}


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)
