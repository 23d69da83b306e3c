"""Buffered reading from a stream: small parts cost no system call, large ones no copy."""

from __future__ import annotations

import contextlib
import mmap
import os
import time

from genie_plugins.transport_tcp.stream import PeerGone, Stream

STAGING = 1 << 16
LARGE = 1 << 20
# How long to look for data before sleeping. A wait that was over soon is followed by such another
# (a training step, a token), and waking a sleeper can cost as much as the step: then look longer.
SPIN_NS = 100_000 if (os.cpu_count() or 1) > 1 else 0
EAGER_SPINS = 20
# A yield that takes so long gave the core to somebody else's work: the machine is crowded, and a
# sleeper is woken sooner than one who yields gets his turn. Sleep for the next waits.
CROWDED_NS = 1_000_000
RESPITE = 100


class Reader:
    """Reads exact amounts from a stream.

    `received` counts the bytes taken from the stream. Not safe from two threads at once.
    """

    def __init__(self, stream: Stream, spin_ns: int = SPIN_NS) -> None:
        self._stream = stream
        self._spin_ns = self._patience_ns = spin_ns
        self._respite = 0
        self._staging = memoryview(bytearray(STAGING))
        self._start = self._end = 0
        self.received = 0

    def wait(self, timeout: float | None) -> None:
        """Return when at least one byte is there. Raises `TimeoutError` or `PeerGone`."""
        if self._start < self._end:
            return
        began = time.perf_counter_ns()
        if not self._spin(began):
            if timeout is not None and not self._refill(timeout):
                raise TimeoutError(f"no message within {timeout} s")
            while self._start == self._end:
                self._refill(None)
        longest = self._spin_ns * EAGER_SPINS
        soon = time.perf_counter_ns() - began < longest
        self._patience_ns = longest if soon else self._spin_ns

    def take(self, count: int) -> memoryview:
        """Return the next `count` bytes in a buffer of their own. Raises `PeerGone`."""
        stop = self._start + count
        if stop <= self._end:
            view = memoryview(bytearray(self._staging[self._start : stop]))
            self._start = stop
            return view
        return self.fill(memoryview(allocate(count)))

    def fill(self, target: memoryview) -> memoryview:
        """Put the next bytes into `target`, and return it when it is full. Raises `PeerGone`."""
        done = self._unstage(target)
        while done < len(target):
            rest = target[done:]
            if len(rest) >= STAGING:
                done += self._receive(rest)
            else:
                if not self._refill(None):
                    raise PeerGone("it stalled in the middle of a message")
                done += self._unstage(rest)
        return target

    def _unstage(self, target: memoryview) -> int:
        count = min(self._end - self._start, len(target))
        target[:count] = self._staging[self._start : self._start + count]
        self._start += count
        return count

    def _receive(self, target: memoryview) -> int:
        count = self._stream.receive(target, None)
        if not count:
            raise PeerGone("it stalled in the middle of a message")
        self.received += count
        return count

    def _refill(self, timeout: float | None) -> bool:
        count = self._stream.receive(self._staging, timeout)
        if count:
            self.received += count
            self._start, self._end = 0, count
        return count > 0

    def _spin(self, began: int) -> bool:
        # A peer on the same machine answers sooner than the scheduler wakes a sleeper. Yielding
        # lets it run where the two share a core: without, each turn costs the whole patience.
        if self._respite:
            self._respite -= 1
            return False
        now = began
        while now < began + self._patience_ns:
            if self._refill(0.0):
                return True
            before = time.perf_counter_ns()
            os.sched_yield()
            now = time.perf_counter_ns()
            if now - before > CROWDED_NS:
                self._respite = RESPITE
                break
        return False


def allocate(count: int) -> bytearray | mmap.mmap:
    """Return a writable buffer of `count` bytes.

    A large one is mapped: the kernel gives its pages as data arrives, so that a peer cannot make
    us commit memory by announcing a length, and none is cleared twice; huge pages make filling
    64 MiB six times faster.
    """
    if count < LARGE:
        return bytearray(count)
    buffer = mmap.mmap(-1, count, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without them
            buffer.madvise(mmap.MADV_HUGEPAGE)
    return buffer
