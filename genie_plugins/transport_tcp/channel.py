"""A channel over a stream."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from genie_core.errors import ConnectionLost, ProtocolError
from genie_plugins.transport_tcp import framing
from genie_plugins.transport_tcp.reader import SPIN_NS, Reader
from genie_plugins.transport_tcp.stream import IOV_MAX, PeerGone, Stream

if TYPE_CHECKING:
    from genie_core.contracts import Buffer


class StreamChannel:
    """One peer. `url` names it; a message is at most `cap` bytes, its frame not counted.

    A message that stops half-way for as long as the stream's stall limit, or is broken off by an
    exception here (a Ctrl-C), ends the channel: the stream has no other place to go on from.
    """

    def __init__(self, stream: Stream, url: str, cap: int, spin_ns: int = SPIN_NS) -> None:
        self.url = url
        self.bytes_sent = self.messages_sent = self.messages_received = 0
        self._cap = cap
        self._stream = stream
        self._reader = Reader(stream, spin_ns)
        self._close_lock = threading.Lock()
        self._closed = False

    @property
    def bytes_received(self) -> int:
        """Bytes received so far, framing included."""
        return self._reader.received

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send `parts` as one message, without copying them; blocks while the peer is behind.

        Raises `ConnectionLost`, `ProtocolError` for a message past the cap (nothing is sent), or
        `ValueError` for a buffer that is not contiguous.
        """
        buffers = [framing.flatten(part) for part in parts]
        lengths = [len(buffer) for buffer in buffers]
        head = framing.header(lengths, self._cap, self.url)
        try:
            self._send_all([memoryview(head), *buffers])
        except (OSError, PeerGone) as error:
            raise self._lost(getattr(error, "strerror", None) or str(error)) from error
        except BaseException:
            self.close()
            raise
        self.bytes_sent += len(head) + sum(lengths)
        self.messages_sent += 1

    def receive(
        self, timeout: float | None = None, into: memoryview | None = None
    ) -> list[memoryview]:
        """Return the next message; `timeout` (seconds) bounds the wait for its first byte.

        A second part of exactly `into`'s length is received there, without a copy.
        Raises `TimeoutError` (the channel stays usable), `ConnectionLost`, or `ProtocolError`
        for garbage or a length past the cap (the channel is closed).
        """
        if self._closed:  # the reader may still hold bytes
            raise self._lost("")
        try:
            self._reader.wait(timeout)
        except PeerGone as error:
            raise self._lost(str(error)) from error
        try:
            parts = self._message(into)
        except PeerGone as error:
            raise self._lost(str(error)) from error
        except BaseException:
            self.close()
            raise
        self.messages_received += 1
        return parts

    def close(self) -> None:
        """Close both ways; wakes a blocked `receive` or `send`. Idempotent.

        Leaving messages of the peer's unread resets the connection: it may then miss our last one.
        """
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        self._stream.close()

    def _message(self, into: memoryview | None) -> list[memoryview]:
        take = self._reader.take
        count = framing.read_count(take(framing.PREFIX.size), self.url)
        lengths = framing.read_lengths(take(count * framing.LENGTH), self._cap, self.url)
        try:
            if into is None or len(lengths) < 2 or lengths[1] != len(into):
                return [take(length) for length in lengths]
            head, body = take(lengths[0]), self._reader.fill(into)
            return [head, body, *map(take, lengths[2:])]
        except (MemoryError, OSError) as error:
            raise ProtocolError(
                f"no memory for a message of {sum(lengths)} bytes", self.url
            ) from error

    def _send_all(self, buffers: list[memoryview]) -> None:
        first = 0
        while first < len(buffers):
            sent = self._stream.send(buffers[first : first + IOV_MAX])
            while first < len(buffers) and sent >= len(buffers[first]):
                sent -= len(buffers[first])
                first += 1
            if sent:
                buffers[first] = buffers[first][sent:]

    def _lost(self, reason: str) -> ConnectionLost:
        reason = "it was closed here" if self._closed else reason
        self.close()
        return ConnectionLost(self.url, reason)
