"""TCP addresses: parsing, printing, and what may be bound."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit

import attrs

from genie_core.errors import ConnectionFailed, SettingsError

EXAMPLE = "give tcp://HOST:PORT, such as tcp://127.0.0.1:7070 or tcp://[::1]:7070"


@attrs.frozen
class Address:
    """A host name or IP address, and a port from 0 to 65535."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The address as a URL, an IPv6 host in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def parse(url: str, variable: str) -> Address:
    """Parse `tcp://host:port`. Raises `SettingsError`, naming `variable`, for anything else."""
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        raise SettingsError(variable, url, EXAMPLE) from None
    rest = split.path.rstrip("/") + split.query + split.fragment + (split.username or "")
    if not host or port is None or rest:
        raise SettingsError(variable, url, EXAMPLE)
    return Address(host, port)


def resolve(address: Address, url: str) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """Return the (family, socket address) pairs of `address`, preferred first.

    Raises `ConnectionFailed` where the host is unknown.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectionFailed(url, f"unknown host {address.host!r}: {error}") from error
    return [(family, (str(name[0]), int(name[1]))) for family, _, _, _, name in found]


def refuse_open_bind(url: str, hosts: list[str]) -> None:
    """Raise `SettingsError` unless every one of the IP addresses `hosts` is loopback.

    The protocol has neither encryption nor authentication on TCP: whoever reaches the port
    could use the accelerator.
    """
    if not all(ipaddress.ip_address(host.partition("%")[0]).is_loopback for host in hosts):
        raise SettingsError(
            "URL",
            url,
            "only a loopback address can be bound without TLS and a token; bind "
            "tcp://127.0.0.1:PORT and reach it from elsewhere through a tunnel, such as `ssh -L`",
        )
