"""The host's conversation, on a fake store."""

from __future__ import annotations

import contextlib
import threading
import time

import msgspec
import pytest
import torch

from genie_core import protocol
from genie_core.contracts import Executor
from genie_core.errors import ConnectionLost
from genie_core.protocol import (
    Bye,
    Data,
    Define,
    Done,
    Failed,
    Forget,
    Free,
    Hello,
    Outputs,
    Put,
    Read,
    Run,
    Supports,
    Sync,
    Welcome,
)
from genie_plugins.executor import session as session_module
from genie_plugins.executor.host import ExecutorHost
from genie_plugins.executor.session import ClientSession

TORCH = str(torch.__version__)
READ = Read(1, 0, [5], [1], 0, 0)


def program(ops=()):
    return protocol.encode(protocol.ProgramCode(2, 1, [0], [1], [["t"]], list(ops), tail=True))


def test_is_an_executor(host):
    assert isinstance(host, Executor)
    assert host.device == "cpu"


def test_hello_is_answered_with_what_the_executor_is(connect):
    welcome = connect().hello()
    assert welcome == Welcome(protocol.PROTOCOL, TORCH, "cpu", ["aten::lacking"], 1)
    assert connect().hello().session == 2


def test_another_patch_release_of_torch_is_welcome(connect):
    version = ".".join(TORCH.split(".")[:2])
    assert isinstance(connect().hello(torch=version + ".99+cu999"), Welcome)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"protocol": 99}, "same version of genie-remote"),
        ({"torch": "1.13.1"}, "install torch"),
        ({"torch": "2.0"}, "install torch"),
        ({"torch": ""}, "install torch"),
    ],
)
def test_another_version_is_refused_and_told_what_to_do(connect, changes, says):
    client = connect()
    failed = client.hello(**changes)
    assert failed.kind == "ProtocolError"
    assert says in failed.message
    client.channel.close()
    assert client.left()


def test_put_read_and_free(client, native):
    client.send(Put(1), Put(2), data=[b"hello", b"other"])
    assert client.ask(READ) == (Data(), b"hello")
    client.send(Free([1]))
    assert client.ask(READ).kind == "KeyError"
    assert client.ask(Sync()) == Done()
    assert native.stores[0].values == {2: b"other"}


def test_run_replies_only_where_asked(client):
    client.send(Run(b"abc"), Run(b"def", True), Run(b"ghi"))
    assert client.reply() == Outputs(b"fed")
    assert client.ask(Supports("aten::lacking")) == Done(False)
    assert client.ask(Supports("aten::add.Tensor")) == Done(True)


def test_a_program_arrives_whole(client, native):
    client.send(Define(5, b"name", program([["aten::mm", 1]])))
    assert client.ask(Sync()) == Done()
    whole = (2, 1, [0], [1], [["t"]], [["aten::mm", 1]], True)
    assert native.stores[0].programs == {5: whole}


def test_a_failure_that_asked_for_a_reply_names_the_op(client):
    failed = client.ask(Run(b"fail", True))
    assert failed == Failed("RuntimeError", "shapes do not fit", "aten::mm", 7, 3)
    assert client.ask(Sync()) == Done()


@pytest.mark.parametrize("question", [Sync(), READ, Supports("x"), Run(b"ab", True)])
def test_the_first_silent_failure_comes_out_once(client, question):
    client.send(Put(1), Run(b"fail"), Free([77]), data=[b"hello"])
    assert client.ask(question).op == "aten::mm"
    assert client.ask(READ) == (Data(), b"hello")


def test_a_bad_program_fails_at_the_next_question(client):
    client.send(Define(9, b"", program([["bad"]])))
    assert client.ask(Sync()) == Failed("ValueError", "no such op: bad", "", 9)


def test_a_message_that_cannot_be_encoded_is_replaced(client, native):
    def read(*_):
        raise RuntimeError("broken \udc80 text")

    native.stores[0].read = read
    assert client.ask(READ).message == "broken ? text"


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "malformed"),
        ([b""], "malformed"),
        ([b"\xc1"], "malformed"),
        ([msgspec.msgpack.encode({"a": 1})], "malformed"),
        ([msgspec.msgpack.encode([["Nonsense", 1]])], "malformed"),
        ([msgspec.msgpack.encode([["Run", "text"]])], "malformed"),
        ([b"\x91" * 100_000], "malformed"),
        ([protocol.encode([Put(1)])], "without its data"),
        ([protocol.encode([Sync()]), b"surplus"], "no request takes"),
        ([protocol.encode([Hello(1, TORCH)])], "second Hello"),
        ([protocol.encode([Define(1, b"", b"\xc1")])], "malformed program"),
        ([protocol.encode([Define(1, b"", b"\x91" * 100_000)])], "malformed program"),
    ],
)
def test_a_broken_message_is_answered_and_ends_the_session(client, connect, parts, says):
    client.channel.send(parts)
    reply = client.reply()
    while isinstance(reply, Done):
        reply = client.reply()
    assert reply.kind == "ProtocolError"
    assert says in reply.message
    client.channel.close()
    assert client.left()
    assert isinstance(connect().hello(), Welcome)


@pytest.mark.parametrize("requests", [[], [Sync()], [Run(b""), Hello(1, "2")]])
def test_a_session_starts_with_hello(connect, requests):
    failed = connect().ask(*requests)
    assert "starts with Hello" in failed.message


def test_a_silent_client_is_not_kept_for_ever(connect, monkeypatch):
    monkeypatch.setattr(session_module, "HELLO_SECONDS", 0.05)
    monkeypatch.setattr(session_module, "LINGER_SECONDS", 0.05)
    client = connect()
    assert "no Hello" in client.reply().message
    assert client.left()


def test_a_client_that_goes_on_talking_is_hung_up_on(client, monkeypatch):
    monkeypatch.setattr(session_module, "LINGER_SECONDS", 0.2)
    client.channel.send([b"\xc1"])

    with contextlib.suppress(ConnectionLost):
        while client.thread.is_alive():
            client.send(Sync())
            time.sleep(0.01)
    assert client.left()


def test_too_many_programs(client, monkeypatch):
    monkeypatch.setattr(protocol, "MOST_PROGRAMS", 2)
    client.send(*[Define(i, b"", program()) for i in range(2)], Forget([0, 7]))
    client.send(*[Define(i, b"", program()) for i in range(2, 4)])
    assert "2 programs at most" in client.reply().message


def test_too_many_clients(native, connect):
    host = ExecutorHost("cpu", native, max_sessions=1)
    first = connect(host)
    assert isinstance(first.hello(), Welcome)
    second = connect(host)
    assert "serves 1 clients already" in second.reply().message
    second.channel.close()
    assert second.left()
    first.send(Bye())
    assert first.left()
    assert isinstance(connect(host).hello(), Welcome)


def test_sessions_cannot_name_each_others_values(connect):
    one, other = connect(), connect()
    one.hello(), other.hello()
    one.send(Put(1), data=[b"mine!"])
    assert one.ask(READ) == (Data(), b"mine!")
    assert other.ask(READ).kind == "KeyError"


def test_bye_and_close_both_end_a_session(client, connect):
    client.send(Bye())
    assert client.left()
    other = connect()
    other.hello()
    other.channel.close()
    assert other.left()


def test_closing_the_host_ends_all_sessions(client, connect, host):
    other = connect()
    other.hello()
    host.close()
    host.close()
    assert client.left()
    assert other.left()
    with pytest.raises(ConnectionLost):
        client.ask(Sync())


def test_the_events_of_a_session(connect, monkeypatch):
    events = []
    host_log = "genie_plugins.executor.host._log"
    for level in ("info", "warning"):
        monkeypatch.setattr(f"{host_log}.{level}", lambda event, **f: events.append((event, f)))
    client = connect()
    client.hello()
    client.send(Put(1), Run(b"abc"), Bye(), data=[b"hello"])
    assert client.left()
    (opened, first), (closed, last) = events
    assert (opened, first["device"]) == ("session.opened", "cpu")
    assert (closed, last["reason"], last["runs"], last["values"]) == ("session.closed", "bye", 1, 1)
    assert last["session"] == first["session"]
    assert last["bytes_in"] > 0


def test_a_steady_run_costs_little_python(native):
    store = native.store("cpu")
    store.run = lambda payload: None
    session = ClientSession(None, None, 1)
    session._store = store
    parts = [memoryview(protocol.encode([Free([]), Run(b"x" * 300)]))]
    start = time.thread_time()
    for _ in range(2000):
        session._message(parts)
    assert (time.thread_time() - start) / 2000 < 20e-6


def test_no_thread_survives(connect):
    client = connect()
    client.hello()
    client.send(Bye())
    assert client.left()
    assert client.thread not in threading.enumerate()
