"""Accepting connections on a bound socket."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from genie_core.errors import ConnectionLost
from genie_core.log import get_logger

if TYPE_CHECKING:
    from genie_plugins.transport_tcp.channel import StreamChannel

BACKLOG = 128
_TRANSIENT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM} | {
    errno.ECONNABORTED,
    errno.EPERM,
    errno.EPROTO,
}
_log = get_logger("tcp")


class BoundSocket:
    """A listening socket; `url` is its address."""

    def __init__(self, sock: socket.socket, url: str) -> None:
        self.url = url
        self._socket = sock
        self._closed = threading.Event()

    def accept(self) -> tuple[socket.socket, Any]:
        """Wait for the next connection: its socket, and the peer's socket address.

        Raises `ConnectionLost` once this is closed.
        """
        while True:
            try:
                return self._socket.accept()
            except OSError as error:
                self._check(error)

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


class SocketListener:
    """Gives a channel for each connection, as `greet` makes it of a socket and its address.

    `greet` returns at once; an `OSError` of its says that the client has left already.
    `after_close` is called once.
    """

    def __init__(
        self,
        bound: BoundSocket,
        greet: Callable[[socket.socket, Any], StreamChannel],
        after_close: Callable[[], None] | None = None,
    ) -> None:
        self.url = bound.url
        self._bound = bound
        self._greet = greet
        self._after_close = after_close

    def accept(self) -> StreamChannel:
        """Wait for the next client. Raises `ConnectionLost` once the listener is closed."""
        while True:
            sock, name = self._bound.accept()
            with contextlib.suppress(OSError):
                return self._greet(sock, name)
            sock.close()

    def close(self) -> None:
        """Stop accepting; wakes a blocked `accept`. Idempotent."""
        self._bound.close()
        after, self._after_close = self._after_close, None
        if after:
            after()
