"""A host on a fake store, and clients of it."""

from __future__ import annotations

import threading
from typing import Any

import attrs
import pytest
import torch

from genie_core import protocol
from genie_plugins.executor.host import ExecutorHost
from genie_plugins.transport_inproc.channel import InprocChannel, channel_pair


class OpFailed(RuntimeError):
    """The fake of the native ReplayError."""


class FakeStore:
    """Keeps bytes by name; a payload of b"fail" raises, any other comes back reversed."""

    def __init__(self) -> None:
        self.values: dict[int, bytes] = {}
        self.programs: dict[int, Any] = {}
        self.thread = threading.get_ident()

    def define(self, program, slots, symbols, bound, kept, tensors, ops, tail, name):
        if ops == [["bad"]]:
            raise ValueError("no such op: bad")
        self.programs[program] = (slots, symbols, bound, kept, tensors, ops, tail)

    def forget(self, programs):
        for program in programs:
            self.programs.pop(program, None)

    def run(self, payload):
        assert threading.get_ident() == self.thread
        if payload == b"fail":
            raise OpFailed("RuntimeError", "shapes do not fit", "aten::mm", 7, 3)
        return payload[::-1]

    def put(self, value, data):
        self.values[value] = bytes(data)

    def read(self, value, dtype, size, stride, offset, flags):
        if value not in self.values:
            raise KeyError(value)
        return self.values[value]

    def free(self, ids):
        for value in ids:
            del self.values[value]

    def synchronize(self):
        pass

    @property
    def live_values(self):
        return len(self.values)

    @property
    def live_bytes(self):
        return sum(map(len, self.values.values()))

    @property
    def rewrites(self):
        return []

    @property
    def restrided(self):
        return {}


@attrs.define
class FakeNative:
    """Makes fake stores, and remembers them."""

    replay_error = OpFailed
    stores: list[FakeStore] = attrs.Factory(list)

    def store(self, device):
        self.stores.append(FakeStore())
        return self.stores[-1]

    def lacking_ops(self, device):
        return ["aten::lacking"]

    def has_op(self, name, device):
        return name != "aten::lacking"


@attrs.define
class Client:
    """The other end of a session: sends requests, returns replies."""

    channel: InprocChannel
    thread: threading.Thread

    def send(self, *requests, data=()):
        self.channel.send([protocol.encode(list(requests)), *data])

    def reply(self):
        head, *data = self.channel.receive(10)
        reply = protocol.decode_reply(head)
        return (reply, bytes(data[0])) if data else reply

    def ask(self, *requests, data=()):
        self.send(*requests, data=data)
        return self.reply()

    def hello(self, **changes):
        fields = {"protocol": protocol.PROTOCOL, "torch": str(torch.__version__), "threads": 0}
        return self.ask(protocol.Hello(**{**fields, **changes}))

    def left(self):
        """Wait until the host has ended the session."""
        self.thread.join(10)
        return not self.thread.is_alive()


@pytest.fixture
def native():
    return FakeNative()


@pytest.fixture
def host(native):
    made = ExecutorHost("cpu", native)
    yield made
    made.close()


@pytest.fixture
def connect(host):
    """Starts sessions with `host`; `connect(other)` with another host."""
    clients = []

    def start(to=None):
        one, other = channel_pair("inproc://", 1 << 30)
        thread = threading.Thread(target=(to or host).serve, args=(other,), daemon=True)
        thread.start()
        clients.append(Client(one, thread))
        return clients[-1]

    yield start
    for client in clients:
        client.channel.close()
        client.thread.join(10)


@pytest.fixture
def client(connect):
    """A client that has said hello."""
    found = connect()
    assert isinstance(found.hello(), protocol.Welcome)
    return found
