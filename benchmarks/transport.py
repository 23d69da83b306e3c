"""What a message costs: round trips and throughput of each transport, the peer on this machine."""

from __future__ import annotations

import contextlib
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from genie_core.errors import ConnectionLost

if TYPE_CHECKING:
    from genie_core.contracts import Channel

CAP = 1 << 30
SMALL = (64, 1 << 10, 1 << 16)
LARGE = 64 << 20
_PEER = """
import sys
from genie_benchmarks.transport import answer
from genie_core.plugins import manager
from genie_core.settings import Settings
listener = manager().hook.genie_open_listener(url=sys.argv[1], settings=Settings.from_env())
print(listener.url, flush=True)
answer(listener.accept())
"""


def run() -> list[dict[str, Any]]:
    """One row for each transport, operation and size; `p50_us` is the median of all calls."""
    rows = []
    for name, connected in (("inproc", inproc), ("tcp", tcp), ("unix", unix), ("tls", tls)):
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


def tcp() -> contextlib.AbstractContextManager[Channel]:
    """A channel over TCP to another process."""
    return _to_a_process("tcp://127.0.0.1:0")


@contextlib.contextmanager
def unix() -> Iterator[Channel]:
    """A channel over a Unix socket to another process."""
    with (
        tempfile.TemporaryDirectory() as folder,
        _to_a_process(f"unix://{folder}/socket") as channel,
    ):
        yield channel


@contextlib.contextmanager
def tls() -> Iterator[Channel]:
    """A channel over TLS to another process, with a token."""
    with tempfile.TemporaryDirectory() as folder:
        certs = [sys.executable, "-m", "genie_plugins.cli", "certs", folder]
        subprocess.run(certs, check=True, capture_output=True)
        both = {"GENIE_TOKEN_FILE": f"{folder}/token"}
        server = {name: f"{folder}/server.{end}" for name, end in _SERVER.items()}
        client = {"GENIE_TLS_CA": f"{folder}/ca.pem"}
        with _to_a_process("tls://127.0.0.1:0", both | server, both | client) as channel:
            yield channel


_SERVER = {"GENIE_TLS_CERT": "pem", "GENIE_TLS_KEY": "key"}


@contextlib.contextmanager
def _to_a_process(
    url: str, server: Mapping[str, str] | None = None, client: Mapping[str, str] | None = None
) -> Iterator[Channel]:
    from genie_core.plugins import manager
    from genie_core.settings import Settings

    command = [sys.executable, "-c", _PEER, url]
    environ = os.environ | (server or {})
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as peer:
        assert peer.stdout is not None
        settings = Settings.from_env(os.environ | (client or {}))
        bound = peer.stdout.readline().strip()
        channel: Channel = manager().hook.genie_open_transport(url=bound, settings=settings)
        yield channel
        channel.close()


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
