"""TLS 1.3 by Python's `ssl`: contexts from settings, and a stream over an encrypted socket."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from genie_core.errors import SettingsError
from genie_plugins.transport_tcp.stream import STALL_SECONDS, PeerGone, ready

if TYPE_CHECKING:
    from genie_core.settings import Settings

RECORD = 16 << 10
CHUNK = 8 * RECORD  # encrypted at a time, while the other direction waits


def client_context(settings: Settings) -> ssl.SSLContext:
    """Trust `tls_ca`, or what the system trusts; show `tls_cert` where there is one.

    Raises `SettingsError` for a file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if settings.tls_ca:
        _trust(context, settings.tls_ca)
    else:
        context.load_default_certs()
    if settings.tls_cert:
        _show(context, settings.tls_cert, settings.tls_key)
    return context


def server_context(settings: Settings) -> ssl.SSLContext:
    """Show `tls_cert`; with `tls_ca`, clients need a certificate that it has signed.

    Raises `SettingsError` for a file that cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # A client that never reads its tickets would reset the connection by closing it.
    context.num_tickets = 0
    _show(context, settings.tls_cert, settings.tls_key)
    if settings.tls_ca:
        _trust(context, settings.tls_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _trust(context: ssl.SSLContext, path: str) -> None:
    with _usable("GENIE_TLS_CA", path, "a file of PEM certificates"):
        context.load_verify_locations(path)


def _show(context: ssl.SSLContext, cert: str, key: str) -> None:
    with _usable("GENIE_TLS_CERT", cert, "a file of PEM certificates"):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cert)  # reads them only
    with _usable("GENIE_TLS_KEY", key or cert, "its certificate's key, in PEM, not encrypted"):
        # A password would be asked for at the terminal, where nobody may be.
        context.load_cert_chain(cert, key or None, password=lambda: "")


@contextlib.contextmanager
def _usable(variable: str, path: str, wanted: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(variable, path, f"give {wanted} ({reason})") from error


class TlsStream:
    """A stream over an encrypted socket whose handshake is done.

    OpenSSL lets one thread at a time use a connection: so no call waits inside of it.
    """

    def __init__(self, sock: ssl.SSLSocket, stall: float = STALL_SECONDS) -> None:
        sock.settimeout(0)
        self._socket = sock
        self._stall = stall
        self._lock = threading.Lock()

    def receive(self, target: memoryview, timeout: float | None) -> int:
        """Receive within `timeout` seconds; 0 where nothing came."""
        limit = self._stall if timeout is None else timeout
        deadline = time.monotonic() + limit
        while True:
            try:
                count, event = self._attempt(lambda: self._socket.recv_into(target))
            except (OSError, ValueError) as error:
                raise PeerGone(reason_of(error)) from error
            if not event:
                if not count:
                    raise PeerGone("it closed the connection")
                return count
            left = deadline - time.monotonic()
            if not limit or not ready(self._socket, event, max(left, 0)):
                return 0

    def send(self, buffers: list[memoryview]) -> int:
        """Send from where the buffers are; small ones are put together into one record."""
        data = _gather(buffers)
        while data:
            sent, event = self._attempt(lambda: self._socket.send(data))
            if not event:
                return sent
            ready(self._socket, event, None)
        return 0

    def close(self) -> None:
        """Close both ways, waking who waits."""
        with contextlib.suppress(OSError):
            # The socket's own: `SSLSocket.shutdown` would let a late `send` go out in clear.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        with self._lock:
            self._socket.close()

    def _attempt(self, work: Callable[[], int]) -> tuple[int, int]:
        """What `work` returns, and what to wait for before the next attempt, or 0."""
        try:
            with self._lock:
                return work(), 0
        except ssl.SSLWantReadError:
            return 0, select.POLLIN
        except ssl.SSLWantWriteError:
            return 0, select.POLLOUT


def reason_of(error: Exception) -> str:
    """What OpenSSL or the kernel says is wrong, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


def _gather(buffers: list[memoryview]) -> memoryview:
    """The first bytes of `buffers`: of one where they are, or a record's worth of small ones."""
    small: list[memoryview] = []
    room = RECORD
    for buffer in buffers:
        if len(buffer) > room and not small:
            return buffer[:CHUNK]
        small.append(buffer[:room])
        room -= len(small[-1])
        if not room:
            break
    return memoryview(b"".join(small))
