"""Listening over TLS: clients that have proved who they are come out of `accept`, no others."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from genie_core.errors import ConnectionLost, SettingsError
from genie_core.log import get_logger
from genie_plugins.transport_tcp import token
from genie_plugins.transport_tcp.address import Address, parse
from genie_plugins.transport_tcp.channel import StreamChannel
from genie_plugins.transport_tcp.endpoint import bind
from genie_plugins.transport_tcp.limiter import FailureLimiter
from genie_plugins.transport_tcp.stream import tune_tcp
from genie_plugins.transport_tcp.tls import TlsStream, reason_of, server_context

if TYPE_CHECKING:
    from genie_core.settings import Settings
    from genie_plugins.transport_tcp.listener import BoundSocket

HANDSHAKE_SECONDS = 10.0
LINGER_SECONDS = 1.0
MOST_HANDSHAKES = 64  # at a time
_log = get_logger("tls")


def listen(url: str, settings: Settings) -> TlsListener:
    """Bind `url` and listen, showing `tls_cert`, and letting in who shows what is asked for.

    That is the token in `token_file`, a certificate signed by `tls_ca`, or both. Raises
    `SettingsError` where there is neither, or for what cannot be used; `ConnectionFailed` when
    the address cannot be bound.
    """
    address = parse(url, "URL")
    if not settings.tls_cert:
        reason = "give it a certificate: --tls-cert and --tls-key (`genie certs DIR` makes them)"
        raise SettingsError("URL", url, reason)
    if not settings.token_file and not settings.tls_ca:
        reason = "anybody could connect: give --token-file, or --tls-ca to ask for certificates"
        raise SettingsError("URL", url, reason)
    context = server_context(settings)
    secret = token.read_token(settings.token_file) if settings.token_file else b""
    return TlsListener(bind(address), context, secret, settings.max_message)


class TlsListener:
    """Accepts on a thread of its own, and shakes hands with each client on one of that client's.

    `secret` is the token to ask for, if any; channels take messages of up to `cap` bytes.
    """

    def __init__(
        self,
        bound: BoundSocket,
        context: ssl.SSLContext,
        secret: bytes,
        cap: int,
        limiter: FailureLimiter | None = None,
    ) -> None:
        self.url = bound.url
        self._bound = bound
        self._context = context
        self._secret = secret
        self._cap = cap
        self._limiter = limiter or FailureLimiter()
        self._ready: SimpleQueue[StreamChannel | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._greeted: set[ssl.SSLSocket] = set()
        self._closed = False
        threading.Thread(target=self._run, name="genie-tls-accept", daemon=True).start()

    def accept(self) -> StreamChannel:
        """Wait for the next client. Raises `ConnectionLost` once the listener is closed."""
        channel = self._ready.get()
        if channel is None:
            self._ready.put(None)  # for the next call
            raise ConnectionLost(self.url, "the listener is closed")
        return channel

    def close(self) -> None:
        """Stop accepting; wakes a blocked `accept`. Idempotent."""
        self._bound.close()
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for sock in self._greeted:
                _shut(sock, socket.SHUT_RDWR)
        with contextlib.suppress(Empty):
            while channel := self._ready.get_nowait():  # let in, and taken by nobody
                channel.close()
        self._ready.put(None)

    def _run(self) -> None:
        try:
            while True:
                sock, name = self._bound.accept()
                try:
                    self._start(sock, name)
                except OSError:  # the client has left already
                    sock.close()
        except ConnectionLost:
            pass
        finally:  # whatever ended it: `accept` must not wait for nothing
            self.close()

    def _start(self, sock: socket.socket, name: Any) -> None:
        """Begin to greet a client, unless it may not try again yet, or too many are at it."""
        url = Address(name[0], name[1], "tls").url
        allowed = self._limiter.allows(name[0])
        if not allowed or len(self._greeted) >= MOST_HANDSHAKES:
            _log.debug("client.turned_away", client=url, why="failures" if not allowed else "busy")
            sock.close()
            return
        tune_tcp(sock)
        secured = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with self._lock:
            self._greeted.add(secured)
        greeting = threading.Thread(
            target=self._greet, args=(secured, url, name[0]), name=f"genie-tls {url}", daemon=True
        )
        greeting.start()

    def _greet(self, sock: ssl.SSLSocket, url: str, host: str) -> None:
        try:
            admit(sock, self._secret)
        except (token.Denied, OSError, ValueError) as error:
            self._refuse(error, url, host)
            linger(sock)
        else:
            self._admit(StreamChannel(TlsStream(sock), url, self._cap))
        finally:
            with self._lock:
                self._greeted.discard(sock)

    def _admit(self, channel: StreamChannel) -> None:
        with self._lock:
            if not self._closed:
                self._ready.put(channel)
                return
        channel.close()

    def _refuse(self, error: Exception, url: str, host: str) -> None:
        if not _is_suspect(error):
            _log.info("client.left", client=url, reason=reason_of(error))
            return
        stopped = self._limiter.failed(host)
        _log.warning("client.denied", client=url, reason=reason_of(error), stopped=stopped)


def admit(sock: ssl.SSLSocket, secret: bytes) -> None:
    """Shake hands as the server, and ask for the token, all within `HANDSHAKE_SECONDS`.

    Raises `Denied`, `ssl.SSLError`, or another `OSError`.
    """
    deadline = time.monotonic() + HANDSHAKE_SECONDS
    sock.settimeout(HANDSHAKE_SECONDS)
    sock.do_handshake()
    token.check(sock, secret, deadline)


def linger(sock: ssl.SSLSocket) -> None:
    """Close, once the client has read why: what it sent and nobody read would reset the rest."""
    deadline = time.monotonic() + LINGER_SECONDS
    _shut(sock, socket.SHUT_WR)
    with contextlib.suppress(OSError):
        while (left := deadline - time.monotonic()) > 0:
            sock.settimeout(left)
            if not socket.socket.recv(sock, 1 << 16):  # the socket's own: not to be decrypted
                break
    sock.close()


def _shut(sock: ssl.SSLSocket, how: int) -> None:
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, how)


def _is_suspect(error: Exception) -> bool:
    """Whether a failure may be an attempt to get in, and not a client that left or gave up."""
    if isinstance(error, ssl.SSLError):
        left = isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError))
        return not left and "ALERT" not in (error.reason or "")
    return isinstance(error, token.Denied)
