"""Buffered reading from a socket: small parts cost no system call, large ones no copy."""

from __future__ import annotations

import contextlib
import mmap
import os
import select
import socket
import time

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


class PeerGone(Exception):
    """The stream has ended, broken off, or stalled in the middle of a message; says how."""


class Reader:
    """Reads exact amounts from a blocking socket whose SO_RCVTIMEO is the stall limit.

    `received` counts the bytes taken from the socket. Not safe from two threads at once.
    """

    def __init__(self, sock: socket.socket, spin_ns: int = SPIN_NS) -> None:
        self._socket = sock
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
            if timeout is not None and not self._readable(timeout):
                raise TimeoutError(f"no message within {timeout} s")
            while not self._refill(0):
                pass
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
        target = memoryview(allocate(count))
        self._fill(target)
        return target

    def _fill(self, target: memoryview) -> None:
        done = self._unstage(target)
        while done < len(target):
            rest = target[done:]
            if len(rest) >= STAGING:
                done += self._receive(rest)
            else:
                if not self._refill(0):
                    raise PeerGone("it stalled in the middle of a message")
                done += self._unstage(rest)

    def _unstage(self, target: memoryview) -> int:
        count = min(self._end - self._start, len(target))
        target[:count] = self._staging[self._start : self._start + count]
        self._start += count
        return count

    def _receive(self, target: memoryview) -> int:
        count = self._try(target, 0)
        if not count:
            raise PeerGone("it stalled in the middle of a message")
        return count

    def _refill(self, flags: int) -> bool:
        count = self._try(self._staging, flags)
        if count:
            self._start, self._end = 0, count
        return count > 0

    def _try(self, target: memoryview, flags: int) -> int:
        """Receive what is there; 0 if nothing came within the stall limit."""
        try:
            count = self._socket.recv_into(target, 0, flags)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise PeerGone(error.strerror or str(error)) from error
        if not count:
            raise PeerGone("it closed the connection")
        self.received += count
        return count

    def _spin(self, began: int) -> bool:
        # A peer on the same machine answers sooner than the scheduler wakes a sleeper. Yielding
        # lets it run where the two share a core: without, each turn costs the whole patience.
        if self._respite:
            self._respite -= 1
            return False
        now = began
        while now < began + self._patience_ns:
            if self._refill(socket.MSG_DONTWAIT):
                return True
            before = time.perf_counter_ns()
            os.sched_yield()
            now = time.perf_counter_ns()
            if now - before > CROWDED_NS:
                self._respite = RESPITE
                break
        return False

    def _readable(self, timeout: float) -> bool:
        try:
            poller = select.poll()
            poller.register(self._socket, select.POLLIN)
            return bool(poller.poll(timeout * 1000))
        except (OSError, ValueError) as error:
            raise PeerGone("it was closed here") from error


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
