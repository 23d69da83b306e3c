"""Connected pairs of channels, of every transport."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from genie_core.contracts import Channel
from genie_plugins.transport_inproc.channel import channel_pair
from genie_plugins.transport_tcp.endpoint import connect, listen

CAP = 1 << 30
Pair = tuple[Channel, Channel]
MakePair = Callable[[], Pair]


def _inproc(stack: contextlib.ExitStack) -> Pair:
    pair = channel_pair("inproc://", CAP, backlog=1 << 20)
    for channel in pair:
        stack.callback(channel.close)
    return pair


def _tcp(stack: contextlib.ExitStack, address: str = "tcp://127.0.0.1:0") -> Pair:
    listener = listen(address, CAP)
    stack.callback(listener.close)
    client = connect(listener.url, 5.0, CAP)
    stack.callback(client.close)
    server = listener.accept()
    stack.callback(server.close)
    return client, server


@pytest.fixture(params=[_inproc, _tcp], ids=["inproc", "tcp"])
def make_pair(request: pytest.FixtureRequest) -> Iterator[MakePair]:
    """Makes connected pairs; they are closed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda: request.param(stack)


@pytest.fixture
def pair(make_pair: MakePair) -> Pair:
    """One connected pair."""
    return make_pair()


@pytest.fixture
def tcp_pair() -> Iterator[Pair]:
    """One connected pair over TCP."""
    with contextlib.ExitStack() as stack:
        yield _tcp(stack)


@pytest.fixture
def background() -> Iterator[Callable[..., Any]]:
    """Starts `function(*args)` on a thread; returns a call that waits for its result."""
    threads: list[threading.Thread] = []

    def start(function: Callable[..., Any], *args: Any) -> Callable[..., Any]:
        outcome: dict[str, Any] = {}

        def work() -> None:
            try:
                outcome["value"] = function(*args)
            except BaseException as error:
                outcome["error"] = error

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        threads.append(thread)

        def result(timeout: float = 20.0) -> Any:
            thread.join(timeout)
            assert not thread.is_alive(), "still running"
            if "error" in outcome:
                raise outcome["error"]
            return outcome["value"]

        result.running = thread.is_alive  # type: ignore[attr-defined]
        return result

    yield start
    for thread in threads:
        thread.join(5.0)
