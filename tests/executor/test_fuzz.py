"""Random bytes and random messages: the client's session may end, the others go on."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading

import pytest
import torch

from genie_core import protocol
from genie_core.errors import GenieError
from genie_plugins.executor import session as session_module
from genie_plugins.executor.host import ExecutorHost
from genie_plugins.transport_tcp import framing
from genie_plugins.transport_tcp.address import parse
from genie_plugins.transport_tcp.endpoint import connect, listen

HELLO = protocol.Hello(protocol.PROTOCOL, str(torch.__version__))
NUMBERS = (0, 1, 2, 7, -1, 255, 2**31, 2**62, 2**63 - 1, -(2**63))


@pytest.fixture(params=["fake", "native"])
def host(request, native):
    """A host on the fake store, and one on the real one."""
    if request.param == "native":
        pytest.importorskip("genie_core._native", reason="the native module is not built")
    made = ExecutorHost("cpu", native if request.param == "fake" else None)
    yield made
    made.close()


@pytest.fixture
def url(host, monkeypatch):
    """The address of a host that serves on TCP."""
    monkeypatch.setattr(session_module, "LINGER_SECONDS", 0.01)
    listener = listen("tcp://127.0.0.1:0", 1 << 20)

    threads = []

    def accept():
        with contextlib.suppress(GenieError):
            while True:
                channel = listener.accept()
                threads.append(threading.Thread(target=host.serve, args=(channel,), daemon=True))
                threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    yield listener.url
    listener.close()
    accepting.join(5)
    host.close()
    for thread in threads:
        thread.join(5)
    assert not any(thread.is_alive() for thread in threads)


def ask(channel, *requests, data=()):
    channel.send([protocol.encode(list(requests)), *data])
    return protocol.decode_reply(channel.receive(10)[0])


def check_alive(channel, url):
    """A session that was open all the time works, and so does a new one."""
    for each, hello in ((channel, ()), (connect(url, 5, 1 << 20), (HELLO,))):
        if hello:
            assert isinstance(ask(each, *hello), protocol.Welcome)
        assert ask(each, protocol.Put(1), protocol.Sync(), data=[b"data"]) == protocol.Done()
        assert ask(each, protocol.Read(1, 0, [4], [1], 0, 0)) == protocol.Data()
    each.close()


def random_value(rng, depth=0):
    kind = rng.randrange(8 if depth < 4 else 6)
    if kind < 2:
        return rng.choice(NUMBERS)
    if kind == 2:
        return rng.choice((None, True, 1.5, float("nan")))
    if kind == 3:
        return rng.randbytes(rng.randrange(40))
    if kind == 4:
        return rng.choice(("Run", "Put", "Read", "Hello", "Define", "x" * 300))
    if kind == 5:
        return []
    if kind == 6:
        return [random_value(rng, depth + 1) for _ in range(rng.randrange(6))]
    return {str(i): random_value(rng, depth + 1) for i in range(rng.randrange(4))}


def random_request(rng):
    """A well-formed request with random contents."""
    number = lambda: rng.choice(NUMBERS)  # noqa: E731
    numbers = lambda: [number() for _ in range(rng.randrange(4))]  # noqa: E731
    code = [number(), number(), numbers(), numbers(), [[random_value(rng)]], [[random_value(rng)]]]
    return rng.choice(
        (
            protocol.Put(number()),
            protocol.Free(numbers()),
            protocol.Read(number(), number(), numbers(), numbers(), number(), number()),
            protocol.Run(rng.randbytes(rng.randrange(60)), rng.random() < 0.5),
            protocol.Define(number(), b"", protocol.encode(code)),
            protocol.Supports("aten::\udfffx".encode("utf-8", "replace").decode()),
            protocol.Sync(),
        )
    )


def mutated(rng, message):
    """`message` with a few bytes changed, cut or doubled."""
    data = bytearray(message)
    for _ in range(rng.randrange(1, 4)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(1, len(data) + 1)] if rng.random() < 0.3 else data)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_on_the_socket(url, seed):
    rng = random.Random(seed)
    bystander = connect(url, 5, 1 << 20)
    ask(bystander, HELLO)
    address = parse(url, "URL")
    for _ in range(5):
        with socket.create_connection((address.host, address.port)) as sock:
            data = rng.randbytes(rng.randrange(1, 3000))
            if rng.random() < 0.5:
                count = rng.choice((1, 2, 65536, 2**32 - 1))
                data = struct.pack("<4sI", framing.MAGIC, count) + data
            with contextlib.suppress(OSError):
                sock.sendall(data)
    check_alive(bystander, url)
    bystander.close()


@pytest.mark.parametrize("seed", range(30))
def test_random_messages(url, seed):
    rng = random.Random(seed)
    bystander, fuzzer = connect(url, 5, 1 << 20), connect(url, 5, 1 << 20)
    ask(bystander, HELLO)
    ask(fuzzer, HELLO)
    for _ in range(30):
        requests = [random_request(rng) for _ in range(rng.randrange(1, 5))]
        data = [b"d" * rng.randrange(9) for r in requests if isinstance(r, protocol.Put)]
        message = protocol.encode(requests)
        style = rng.randrange(3)
        if style == 0:
            message = mutated(rng, message)
        elif style == 1 and rng.random() < 0.2:
            message = protocol.encode(random_value(rng))
        try:
            fuzzer.send([message, *data])
        except GenieError:
            fuzzer = connect(url, 5, 1 << 20)
            ask(fuzzer, HELLO)
    fuzzer.close()
    check_alive(bystander, url)
    bystander.close()
