"""Where yielding costs a time slice, a peer sleeps instead of yielding at each wait."""

from __future__ import annotations

import os
import socket
import threading
import time

import pytest

from genie_plugins.transport_inproc import channel as inproc
from genie_plugins.transport_tcp import reader as tcp
from genie_plugins.transport_tcp.stream import SocketStream

WAITS = 20


@pytest.fixture
def yields(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each yield; each takes as long as on a machine with other work to do."""
    seen: list[None] = []

    def slow() -> None:
        seen.append(None)
        time.sleep(3e-9 * tcp.CROWDED_NS)

    monkeypatch.setattr(os, "sched_yield", slow)
    return seen


def later(work: object) -> None:
    threading.Timer(0.005, work).start()  # type: ignore[arg-type]


def test_tcp(yields: list[None]) -> None:
    here, there = socket.socketpair()
    with here, there:
        reader = tcp.Reader(SocketStream(here), spin_ns=10_000_000)
        for _ in range(WAITS):
            later(lambda: there.send(b"x"))
            reader.wait(None)
            assert bytes(reader.take(1)) == b"x"
    assert len(yields) == 1


def test_inproc(yields: list[None]) -> None:
    pipe = inproc.Pipe()
    for _ in range(WAITS):
        later(lambda: pipe.put([memoryview(b"x")], 1))
        message = pipe.get(None)
        assert message is not None
        assert bytes(message[0][0]) == b"x"
    assert len(yields) == 1
