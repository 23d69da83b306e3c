"""TCP by itself: addresses, and peers that send garbage, stall, or die."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time

import pytest

from genie_core.contracts import Listener
from genie_core.errors import ConnectionFailed, ConnectionLost, ProtocolError, SettingsError
from genie_plugins.transport_tcp import framing
from genie_plugins.transport_tcp.address import Address, parse, refuse_open_bind
from genie_plugins.transport_tcp.channel import StreamChannel
from genie_plugins.transport_tcp.endpoint import connect, listen
from genie_plugins.transport_tcp.stream import SocketStream

CAP = 1 << 20


@pytest.fixture
def listener():
    """A listener whose channels take a MiB."""
    found = listen("tcp://127.0.0.1:0", CAP)
    yield found
    found.close()


@pytest.fixture
def raw(listener):
    """A plain socket, and the channel at its other end."""
    address = parse(listener.url, "URL")
    sock = socket.create_connection((address.host, address.port))
    channel = listener.accept()
    yield sock, channel
    sock.close()
    channel.close()


def test_port_zero_becomes_a_real_port(listener):
    assert isinstance(listener, Listener)
    assert parse(listener.url, "URL").port > 0


def test_a_name_may_be_bound():
    found = listen("tcp://localhost:0", CAP)
    client = connect(found.url, 5, CAP)
    client.send([b"hi"])
    server = found.accept()
    assert bytes(server.receive(5)[0]) == b"hi"
    for each in (client, server, found):
        each.close()


BAD = (
    "tcp:// tcp: tcp://host tcp://host: tcp://host:port tcp://host:70000 tcp://host:1/path "
    "tcp://user@host:1 tcp://[::1:7 tcp://host:1?x=1 tcp://:7"
)


@pytest.mark.parametrize("url", BAD.split())
def test_bad_addresses(url):
    with pytest.raises(SettingsError, match="tcp://HOST:PORT"):
        connect(url, 1, CAP)
    with pytest.raises(SettingsError):
        listen(url, CAP)


def test_addresses_print_as_they_parse():
    for url in ("tcp://127.0.0.1:7", "tcp://[::1]:7070", "tcp://host.example:1"):
        assert parse(url, "URL").url == url
    assert parse("tcp://HOST:7/", "URL") == Address("host", 7)


def test_refused():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = Address(*sock.getsockname()).url
    with pytest.raises(ConnectionFailed, match=r"refused.*genie serve") as caught:
        connect(url, 5, CAP)
    assert caught.value.url == url


def test_unknown_host():
    with pytest.raises(ConnectionFailed, match="unknown host"):
        connect("tcp://no-such-host.invalid:7070", 5, CAP)


def test_no_answer_in_time():
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        url = Address(*sock.getsockname()).url
        # The kernel drops handshakes once the backlog is full.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        start = time.monotonic()
        with pytest.raises(ConnectionFailed, match=r"0\.2 s"):
            connect(url, 0.2, CAP)
        assert time.monotonic() - start < 5
        for filler in fillers:
            filler.close()


@pytest.mark.parametrize("url", ["tcp://0.0.0.0:0", "tcp://[::]:0", "tcp://192.0.2.1:0"])
def test_only_loopback_may_be_bound(url):
    with pytest.raises(SettingsError, match="TLS"):
        listen(url, CAP)


def test_a_name_with_one_open_address_is_refused():
    refuse_open_bind("tcp://x:1", ["127.0.0.1", "::1"])
    with pytest.raises(SettingsError):
        refuse_open_bind("tcp://x:1", ["127.0.0.1", "10.0.0.1"])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET "),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "starts with"),
        (struct.pack("<4sIQ", framing.MAGIC, 1, CAP + 1), "cap"),
        (struct.pack("<4sI2Q", framing.MAGIC, 2, CAP, 1), "cap"),
        (struct.pack("<4sIQ", framing.MAGIC, 1, 2**64 - 1), "cap"),
        (struct.pack("<4sI", framing.MAGIC, 2**32 - 1), "parts"),
    ],
    ids=["http", "tls", "long", "long together", "absurd", "many parts"],
)
def test_garbage_ends_the_channel_only(listener, raw, data, says):
    sock, channel = raw
    sock.sendall(data)
    with pytest.raises(ProtocolError, match=says):
        channel.receive(5)
    with pytest.raises(ConnectionLost):
        channel.receive(5)
    sock.settimeout(5)
    assert sock.recv(1) == b""
    client = connect(listener.url, 5, CAP)
    client.close()
    listener.accept().close()


def test_an_announced_length_allocates_nothing(raw):
    sock, channel = raw
    channel._cap = 1 << 50
    sock.sendall(struct.pack("<4sIQ", framing.MAGIC, 1, 1 << 49))
    sock.close()
    with pytest.raises((ProtocolError, ConnectionLost)):
        channel.receive(5)


@pytest.mark.parametrize("cut", [1, 7, 8, 12, 16, 20])
def test_a_peer_that_leaves_in_the_middle(raw, cut):
    sock, channel = raw
    sock.sendall((struct.pack("<4sIQ", framing.MAGIC, 1, 10) + b"0123456789")[:cut])
    sock.close()
    with pytest.raises(ConnectionLost, match="closed the connection"):
        channel.receive(5)


def test_a_half_closed_peer_still_hears(raw):
    sock, channel = raw
    sock.sendall(struct.pack("<4sIQ", framing.MAGIC, 1, 2) + b"hi")
    sock.shutdown(socket.SHUT_WR)
    assert bytes(channel.receive(5)[0]) == b"hi"
    channel.send([b"answer"])
    sock.settimeout(5)
    assert sock.recv(100).endswith(b"answer")
    with pytest.raises(ConnectionLost):
        channel.receive(5)


def test_a_slow_peer_is_waited_for(raw, background):
    sock, channel = raw
    waiting = background(channel.receive, 0.5)
    for byte in struct.pack("<4sI2Q", framing.MAGIC, 2, 3, 4) + b"onetwo!":
        sock.sendall(bytes([byte]))
        time.sleep(0.03)  # 0.9 s in all: the timeout is for the first byte
    assert [bytes(part) for part in waiting(5)] == [b"one", b"two!"]


@pytest.mark.parametrize("size", [100, 1 << 19])
def test_a_peer_that_stalls_is_given_up(size):
    ours, theirs = _tcp_socketpair()
    channel = StreamChannel(SocketStream(ours, stall=0.2), "tcp://peer:1", CAP)
    theirs.sendall(struct.pack("<4sIQ", framing.MAGIC, 1, size) + b"x")
    start = time.monotonic()
    with pytest.raises(ConnectionLost, match="stalled"):
        channel.receive()
    assert 0.1 < time.monotonic() - start < 3
    theirs.close()


def test_an_idle_peer_is_not_given_up(background):
    ours, theirs = _tcp_socketpair()
    channel = StreamChannel(SocketStream(ours, stall=0.1), "tcp://peer:1", CAP)
    waiting = background(channel.receive)
    time.sleep(0.4)
    theirs.sendall(struct.pack("<4sIQ", framing.MAGIC, 1, 2) + b"hi")
    assert bytes(waiting(5)[0]) == b"hi"
    channel.close()
    theirs.close()


def test_an_interrupt_in_the_middle_closes_the_channel(raw):
    sock, channel = raw
    sock.sendall(struct.pack("<4sIQ", framing.MAGIC, 1, 1000) + b"x")
    pid = os.getpid()
    threading.Timer(0.2, os.kill, (pid, signal.SIGUSR1)).start()

    def interrupt(*_):
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            channel.receive()
    finally:
        signal.signal(signal.SIGUSR1, old)
    with pytest.raises(ConnectionLost):
        channel.receive()


def _tcp_socketpair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    return one, other
