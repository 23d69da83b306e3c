"""Making channels: connecting, listening and accepting."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time

from genie_core.errors import ConnectionFailed, ConnectionLost
from genie_core.log import get_logger
from genie_plugins.transport_tcp.address import Address, parse, refuse_open_bind, resolve
from genie_plugins.transport_tcp.channel import TcpChannel

BACKLOG = 128
_TRANSIENT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM} | {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
}
_log = get_logger("tcp")


def connect(url: str, timeout: float, cap: int) -> TcpChannel:
    """Connect to `url` within `timeout` seconds.

    Raises `SettingsError` for a bad address and `ConnectionFailed` when nobody answers there.
    """
    address = parse(url, "GENIE_DEVICES")
    resolve(address, url)
    try:
        sock = socket.create_connection((address.host, address.port), timeout)
        return TcpChannel(sock, url, cap)
    except TimeoutError as error:
        raise ConnectionFailed(url, f"no answer within {timeout:g} s") from error
    except OSError as error:
        raise ConnectionFailed(url, error.strerror or str(error)) from error


def listen(url: str, cap: int) -> TcpListener:
    """Bind `url`, of the loopback interface, and listen.

    Raises `SettingsError` for a bad address or one that is not loopback, `ConnectionFailed` when
    the address cannot be bound.
    """
    address = parse(url, "URL")
    found = resolve(address, url)
    refuse_open_bind(url, [name[0] for _, name in found])
    family, name = found[0]
    try:
        sock = socket.create_server(name, family=family, backlog=BACKLOG)
    except OSError as error:
        reason = f"cannot bind it: {error.strerror or error}"
        raise ConnectionFailed(url, reason) from error
    bound = sock.getsockname()
    return TcpListener(sock, Address(bound[0], bound[1]).url, cap)


class TcpListener:
    """A bound address; `url` holds the real port. Channels take messages of up to `cap` bytes."""

    def __init__(self, sock: socket.socket, url: str, cap: int) -> None:
        self.url = url
        self._cap = cap
        self._socket = sock
        self._closed = threading.Event()

    def accept(self) -> TcpChannel:
        """Wait for the next client. Raises `ConnectionLost` once the listener is closed."""
        while True:
            try:
                sock, name = self._socket.accept()
            except OSError as error:
                self._check(error)
                continue
            with contextlib.suppress(OSError):  # the client has left already
                return TcpChannel(sock, Address(name[0], name[1]).url, self._cap)

    def close(self) -> None:
        """Stop accepting; wakes a blocked `accept`. Idempotent."""
        self._closed.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _check(self, error: OSError) -> None:
        """Return after an error that passes: a client that left, or descriptors that ran out."""
        if self._closed.is_set() or error.errno not in _TRANSIENT:
            raise ConnectionLost(self.url, "the listener is closed") from error
        _log.warning("accept.failed", url=self.url, error=str(error))
        time.sleep(0.05)
