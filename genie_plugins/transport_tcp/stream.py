"""Bytes in and out of a connected socket, as a channel and its reader want them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
from typing import Protocol

STALL_SECONDS = 60.0
NO_SIGNAL = getattr(socket, "MSG_NOSIGNAL", 0)
IOV_MAX = min(os.sysconf("SC_IOV_MAX"), 1024)


class PeerGone(Exception):
    """The stream has ended, broken off, or stalled in the middle of a message; says how."""


class Stream(Protocol):
    """A connection; one thread may send while another receives."""

    def receive(self, target: memoryview, timeout: float | None) -> int:
        """Receive some of what is there into `target`; 0 where nothing came in time.

        `timeout` is in seconds; None is the stall limit. Raises `PeerGone`.
        """

    def send(self, buffers: list[memoryview]) -> int:
        """Send some of at most `IOV_MAX` buffers, however long that takes; returns how many bytes.

        Raises `OSError` or `PeerGone`.
        """

    def close(self) -> None:
        """Close both ways, waking who waits."""


class SocketStream:
    """A stream that the kernel makes: TCP or Unix. `stall` is the stall limit in seconds."""

    def __init__(self, sock: socket.socket, stall: float = STALL_SECONDS) -> None:
        sock.settimeout(None)
        limit = struct.pack("ll", int(stall), int(stall % 1 * 1_000_000))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket = sock

    def receive(self, target: memoryview, timeout: float | None) -> int:
        """Receive within `timeout` seconds; 0 where nothing came."""
        if timeout and not ready(self._socket, select.POLLIN, timeout):
            return 0
        try:
            count = self._socket.recv_into(target, 0, 0 if timeout is None else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGone(error.strerror or str(error)) from error
        if not count:
            raise PeerGone("it closed the connection")
        return count

    def send(self, buffers: list[memoryview]) -> int:
        """Send from where the buffers are, in one system call."""
        return self._socket.sendmsg(buffers, (), NO_SIGNAL)

    def close(self) -> None:
        """Close both ways, waking who waits."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def ready(sock: socket.socket, event: int, timeout: float | None) -> bool:
    """Wait until `sock` can be read or written (`event`). Raises `PeerGone` if closed here."""
    try:
        poller = select.poll()
        poller.register(sock, event)
        return bool(poller.poll(None if timeout is None else timeout * 1000))
    except (OSError, ValueError) as error:
        raise PeerGone("it was closed here") from error


def tune_tcp(sock: socket.socket) -> None:
    """Set the options that a connection over TCP needs: no delay, keepalive."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A peer whose machine vanished is noticed after about half a minute, not two hours.
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
