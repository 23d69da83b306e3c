"""TCP addresses: parsing, printing, and what may be bound."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit

import attrs

from genie_core.errors import ConnectionFailed, SettingsError


@attrs.frozen
class Address:
    """A host name or IP address, and a port from 0 to 65535; `scheme` is tcp or tls."""

    host: str
    port: int
    scheme: str = "tcp"

    @property
    def url(self) -> str:
        """The address as a URL, an IPv6 host in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse(url: str, variable: str) -> Address:
    """Parse `tcp://host:port` or `tls://host:port`.

    Raises `SettingsError`, naming `variable`, for anything else.
    """
    scheme = url.partition(":")[0]
    example = (
        f"give {scheme}://HOST:PORT, such as {scheme}://127.0.0.1:7070 or {scheme}://[::1]:7070"
    )
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        raise SettingsError(variable, url, example) from None
    rest = split.path.rstrip("/") + split.query + split.fragment + (split.username or "")
    if not host or port is None or rest:
        raise SettingsError(variable, url, example)
    return Address(host, port, scheme)


def resolve(address: Address) -> list[tuple[socket.AddressFamily, Any]]:
    """Return the (family, socket address) pairs of `address`, preferred first.

    Raises `ConnectionFailed` where the host is unknown.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = f"unknown host {address.host!r}: {error}"
        raise ConnectionFailed(address.url, reason) from error
    return [(family, name) for family, _, _, _, name in found]


def refuse_open_bind(url: str, hosts: list[str]) -> None:
    """Raise `SettingsError` unless every one of the IP addresses `hosts` is loopback.

    There is neither encryption nor authentication on plain TCP: whoever reaches the port could
    use the accelerator.
    """
    if not all(ipaddress.ip_address(host.partition("%")[0]).is_loopback for host in hosts):
        raise SettingsError(
            "URL",
            url,
            "only a loopback address can be bound without TLS and a token; bind a tls:// address, "
            "with --tls-cert, --tls-key and --token-file (`genie certs DIR` makes the files), or "
            "bind tcp://127.0.0.1:PORT and reach it through a tunnel, such as `ssh -L`",
        )
