"""What a message costs: round trips and throughput of each transport, the peer on this machine."""

from __future__ import annotations

import contextlib
import functools
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from genie_core.errors import ConnectionLost

if TYPE_CHECKING:
    from genie_core.contracts import Channel

CAP = 1 << 30
SMALL = (64, 1 << 10, 1 << 16)
LARGE = 64 << 20
_PEER = """
from genie_benchmarks.transport import CAP, answer
from genie_plugins.transport_tcp.endpoint import listen
listener = listen("tcp://127.0.0.1:0", CAP)
print(listener.url, flush=True)
answer(listener.accept())
"""


def run() -> list[dict[str, Any]]:
    """One row for each transport, operation and size; `p50_us` is the median of all calls."""
    rows = []
    for name, connected in (("inproc", inproc), ("tcp", tcp)):
        with connected() as channel:
            rows += [_row(name, "round trip", size, 2000, channel) for size in SMALL]
            rows += [_row(name, op, LARGE, 10, channel) for op in ("upload", "download")]
    return rows


def answer(channel: Channel) -> None:
    """Be the peer: send back, swallow, or give as many bytes as the message's head says."""
    with contextlib.suppress(ConnectionLost):
        while True:
            op, data = channel.receive()
            if bytes(op) == b"download":
                channel.send([_zeros(int(bytes(data)))])
            else:
                channel.send([data if bytes(op) == b"round trip" else b""])


@contextlib.contextmanager
def inproc() -> Iterator[Channel]:
    """A channel to a thread of this process."""
    from genie_plugins.transport_inproc.channel import channel_pair

    client, server = channel_pair("inproc://", CAP)
    thread = threading.Thread(target=answer, args=(server,), daemon=True)
    thread.start()
    yield client
    client.close()
    thread.join()


@contextlib.contextmanager
def tcp() -> Iterator[Channel]:
    """A channel over TCP to another process."""
    from genie_plugins.transport_tcp.endpoint import connect

    command = [sys.executable, "-c", _PEER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as peer:
        assert peer.stdout is not None
        client = connect(peer.stdout.readline().strip(), 10.0, CAP)
        yield client
        client.close()


@functools.lru_cache(maxsize=1)
def _zeros(size: int) -> bytes:
    return bytes(size)


def _row(transport: str, op: str, size: int, repeats: int, channel: Channel) -> dict[str, Any]:
    data = str(size).encode() if op == "download" else _zeros(size)
    message = [op.encode(), data]

    def call() -> None:
        channel.send(message)
        channel.receive()

    for _ in range(max(2, repeats // 20)):
        call()
    p50 = statistics.median(_seconds(call) for _ in range(repeats))
    return {
        "transport": transport,
        "op": op,
        "bytes": size,
        "p50_us": p50 * 1e6,
        "gb_s": size / p50 / 1e9 if op != "round trip" else None,
    }


def _seconds(call: Callable[[], None]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
