"""Connecting and listening over TCP."""

from __future__ import annotations

import socket
from typing import Any

from genie_core.errors import ConnectionFailed
from genie_plugins.transport_tcp.address import Address, parse, refuse_open_bind, resolve
from genie_plugins.transport_tcp.channel import StreamChannel
from genie_plugins.transport_tcp.listener import BACKLOG, BoundSocket, SocketListener
from genie_plugins.transport_tcp.stream import SocketStream, tune_tcp


def connect(url: str, timeout: float, cap: int) -> StreamChannel:
    """Connect to `url` within `timeout` seconds.

    Raises `SettingsError` for a bad address and `ConnectionFailed` when nobody answers there.
    """
    sock = dial(parse(url, "GENIE_DEVICES"), timeout)
    return StreamChannel(SocketStream(sock), url, cap)


def listen(url: str, cap: int) -> SocketListener:
    """Bind `url`, of the loopback interface, and listen.

    Raises `SettingsError` for a bad address or one that is not loopback, `ConnectionFailed` when
    the address cannot be bound.
    """
    address = parse(url, "URL")
    refuse_open_bind(url, [name[0] for _, name in resolve(address)])

    def greet(sock: socket.socket, name: Any) -> StreamChannel:
        tune_tcp(sock)
        return StreamChannel(SocketStream(sock), Address(name[0], name[1]).url, cap)

    return SocketListener(bind(address), greet)


def dial(address: Address, timeout: float) -> socket.socket:
    """Return a connected socket, whose timeout is `timeout` seconds. Raises `ConnectionFailed`."""
    resolve(address)
    try:
        sock = socket.create_connection((address.host, address.port), timeout)
        tune_tcp(sock)
        return sock
    except TimeoutError as error:
        raise ConnectionFailed(address.url, f"no answer within {timeout:g} s") from error
    except OSError as error:
        raise ConnectionFailed(address.url, error.strerror or str(error)) from error


def bind(address: Address) -> BoundSocket:
    """Listen on the first address that a name stands for. Raises `ConnectionFailed`.

    Where it is every IPv6 address (`::`), it is every IPv4 address too.
    """
    family, name = resolve(address)[0]
    both = name[0] == "::" and socket.has_dualstack_ipv6()
    try:
        sock = socket.create_server(name, family=family, backlog=BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason = f"cannot bind it: {error.strerror or error}"
        raise ConnectionFailed(address.url, reason) from error
    bound = sock.getsockname()
    return BoundSocket(sock, Address(bound[0], bound[1], address.scheme).url)
