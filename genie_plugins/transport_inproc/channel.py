"""Two connected channels inside one process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from genie_core.errors import ConnectionLost, ProtocolError

if TYPE_CHECKING:
    from genie_core.contracts import Buffer

BACKLOG_BYTES = 64 << 20
BACKLOG_MESSAGES = 1024
SPIN_NS = 100_000 if (os.cpu_count() or 1) > 1 else 0
# A yield that takes so long gave the core to somebody else's work: sleep for the next waits.
CROWDED_NS = 1_000_000
RESPITE = 100
_Message = tuple[list[memoryview], int]


class Pipe:
    """One direction: a bounded queue of messages. Safe from any thread.

    A sender waits while `backlog` bytes, or `BACKLOG_MESSAGES`, are queued; one message may be
    larger than that.
    """

    def __init__(self, backlog: int = BACKLOG_BYTES) -> None:
        self._backlog = backlog
        # A SimpleQueue wakes its reader from C: a round trip takes half of a Condition's.
        self._queue: SimpleQueue[_Message | None] = SimpleQueue()
        self._bytes = self._count = 0
        self._respite = 0
        self._closed = False
        self._room = threading.Condition(threading.Lock())

    def put(self, parts: list[memoryview], size: int) -> bool:
        """Queue one message of `size` bytes; False once the pipe is closed."""
        with self._room:
            while self._full() and not self._closed:
                self._room.wait()
            if self._closed:
                return False
            self._account(1, size)
            self._queue.put((parts, size))
        return True

    def get(self, timeout: float | None) -> _Message | None:
        """Return the next message; None once the pipe is closed and empty.

        Raises `TimeoutError` after `timeout` seconds.
        """
        if timeout is None:
            self._spin()
        try:
            message = self._queue.get(timeout=timeout)
        except Empty:
            raise TimeoutError(f"no message within {timeout} s") from None
        if message is None:
            self._queue.put(None)  # for the next call
            return None
        with self._room:
            self._account(-1, -message[1])
            self._room.notify()
        return message

    def close(self) -> None:
        """Refuse further messages and wake everyone; queued ones can still be taken."""
        with self._room:
            if not self._closed:
                self._closed = True
                self._room.notify_all()
                self._queue.put(None)

    def _spin(self) -> None:
        # The other end mostly answers sooner than the scheduler wakes a sleeper. Yielding gives up
        # the interpreter's lock too, without which it could not answer.
        if self._respite:
            self._respite -= 1
            return
        now = time.perf_counter_ns()
        deadline = now + SPIN_NS
        while self._queue.empty() and now < deadline:
            before = now
            os.sched_yield()
            now = time.perf_counter_ns()
            if now - before > CROWDED_NS:
                self._respite = RESPITE
                break

    def _account(self, messages: int, size: int) -> None:
        self._count += messages
        self._bytes += size

    def _full(self) -> bool:
        return self._bytes >= self._backlog or self._count >= BACKLOG_MESSAGES


class InprocChannel:
    """One end of a pair. `after_close` is called once, at the first `close` of this end.

    A message's bytes count as on a wire without framing. `bytes` are passed on without a copy;
    anything that its owner could still change is copied.
    """

    def __init__(self, url: str, incoming: Pipe, outgoing: Pipe, cap: int) -> None:
        self.url = url
        self.bytes_sent = self.bytes_received = 0
        self.messages_sent = self.messages_received = 0
        self.after_close: Callable[[], None] | None = None
        self._incoming = incoming
        self._outgoing = outgoing
        self._cap = cap

    def send(self, parts: Sequence[Buffer]) -> None:
        """Send one message; blocks while the peer is behind.

        Raises `ConnectionLost`, or `ProtocolError` for a message past the cap.
        """
        views = [snapshot(part) for part in parts]
        size = sum(map(len, views))
        if size > self._cap:
            reason = f"a message of {size} bytes is past the cap of {self._cap}"
            raise ProtocolError(f"{reason} (set GENIE_MAX_MESSAGE to allow more)", self.url)
        if not self._outgoing.put(views, size):
            raise ConnectionLost(self.url, "it closed the connection")
        self.bytes_sent += size
        self.messages_sent += 1

    def receive(
        self, timeout: float | None = None, into: memoryview | None = None
    ) -> list[memoryview]:
        """Return the next message, waiting at most `timeout` seconds.

        A second part of exactly `into`'s length is copied there.
        Raises `TimeoutError` (the channel stays usable) or `ConnectionLost`.
        """
        message = self._incoming.get(timeout)
        if message is None:
            raise ConnectionLost(self.url, "it closed the connection")
        self.bytes_received += message[1]
        self.messages_received += 1
        parts = message[0]
        if into is not None and len(parts) > 1 and len(parts[1]) == len(into):
            into[:] = parts[1]
            parts[1] = into
        return parts

    def close(self) -> None:
        """Close both ways; wakes a blocked `receive` or `send` of either end. Idempotent."""
        self._incoming.close()
        self._outgoing.close()
        after, self.after_close = self.after_close, None
        if after:
            after()


def channel_pair(
    url: str, cap: int, backlog: int = BACKLOG_BYTES
) -> tuple[InprocChannel, InprocChannel]:
    """Return two connected channels; messages are of at most `cap` bytes."""
    one, other = Pipe(backlog), Pipe(backlog)
    return InprocChannel(url, one, other, cap), InprocChannel(url, other, one, cap)


def snapshot(part: Buffer) -> memoryview:
    """View `part` as plain bytes that nobody will change: `bytes` as they are, others copied.

    Raises `ValueError` if the buffer is not contiguous.
    """
    view = memoryview(part)
    if not view.c_contiguous:
        raise ValueError("a message's parts must be contiguous buffers")
    if isinstance(view.obj, bytes) and view.nbytes:
        return view.cast("B")
    return memoryview(view.tobytes())
