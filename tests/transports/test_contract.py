"""What every transport must do; parametrised over all of them."""

from __future__ import annotations

import os
import threading
import time

import pytest

from genie_core.contracts import Channel
from genie_core.errors import ConnectionLost, ProtocolError


def as_bytes(parts):
    return [bytes(part) for part in parts]


def test_is_a_channel(pair):
    assert all(isinstance(channel, Channel) for channel in pair)


def test_a_message_arrives_as_it_was_sent(pair):
    client, server = pair
    client.send([b"head", bytearray(b"two"), memoryview(b"three")])
    assert as_bytes(server.receive(5)) == [b"head", b"two", b"three"]
    server.send([b"back"])
    assert as_bytes(client.receive(5)) == [b"back"]


def test_messages_keep_their_order(pair, background):
    client, server = pair
    sent = background(lambda: [client.send([str(i).encode()]) for i in range(5000)])
    assert [bytes(server.receive(5)[0]) for _ in range(5000)] == [b"%d" % i for i in range(5000)]
    sent()


def test_64_mib_in_one_part(pair, background):
    client, server = pair
    big = os.urandom(1 << 20) * 64
    sent = background(client.send, [b"head", big, b"tail"])
    head, body, tail = server.receive(20)
    sent()
    assert (bytes(head), bytes(tail)) == (b"head", b"tail")
    assert bytes(body) == big


@pytest.mark.parametrize("size", [1, 65535, 65536, 65537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sizes_around_buffer_limits(pair, background, size):
    client, server = pair
    data = os.urandom(size)
    sent = background(client.send, [b"x" * 7, data, data[:3]])
    assert as_bytes(server.receive(5)) == [b"x" * 7, data, data[:3]]
    sent()


def test_empty_parts_and_no_parts(pair):
    client, server = pair
    for message in ([b""], [b"", b"a", b""], []):
        client.send(message)
        assert as_bytes(server.receive(5)) == message


def test_more_parts_than_one_system_call_takes(pair, background):
    client, server = pair
    message = [os.urandom(i % 50) for i in range(5000)]
    sent = background(client.send, message)
    assert as_bytes(server.receive(10)) == message
    sent()


def test_parts_of_other_formats_count_bytes(pair):
    client, server = pair
    numbers = memoryview(bytearray(24)).cast("d")
    numbers[1] = 1.5
    client.send([numbers])
    (part,) = server.receive(5)
    assert part.cast("d").tolist() == [0.0, 1.5, 0.0]


def test_a_strided_buffer_is_refused_and_harms_nothing(pair):
    client, server = pair
    with pytest.raises(ValueError, match="contiguous"):
        client.send([memoryview(b"abcdef")[::2]])
    client.send([b"fine"])
    assert as_bytes(server.receive(5)) == [b"fine"]


def test_a_sent_buffer_may_be_reused(pair):
    client, server = pair
    buffer = bytearray(b"first")
    client.send([buffer])
    buffer[:] = b"later"
    assert as_bytes(server.receive(5)) == [b"first"]


def test_received_parts_outlive_the_next_message(pair):
    client, server = pair
    client.send([b"first"])
    client.send([b"later"])
    first, later = server.receive(5), server.receive(5)
    assert as_bytes([*first, *later]) == [b"first", b"later"]


def test_back_pressure_stops_the_sender(pair, background):
    client, server = pair
    block = bytes(1 << 20)
    total = 64
    sent = background(lambda: [client.send([block]) for _ in range(total)])
    time.sleep(0.3)
    assert sent.running()
    assert client.messages_sent < total
    for _ in range(total):
        assert len(server.receive(5)[0]) == len(block)
    sent()


def test_both_ways_at_once(pair, background):
    client, server = pair
    block = bytes(3 << 20)

    def talk(channel):
        def send():
            for _ in range(10):
                channel.send([block])

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        sizes = [len(channel.receive(10)[0]) for _ in range(10)]
        sender.join(10)
        return sizes

    one, other = background(talk, client), background(talk, server)
    assert one() == other() == [len(block)] * 10


def test_a_timeout_leaves_the_channel_usable(pair):
    client, server = pair
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        server.receive(0.05)
    assert 0.03 < time.monotonic() - start < 2
    client.send([b"late"])
    assert as_bytes(server.receive(5)) == [b"late"]
    with pytest.raises(TimeoutError):
        server.receive(0)


@pytest.mark.parametrize("closer", [0, 1], ids=["client", "server"])
def test_what_was_sent_before_a_close_arrives(pair, closer):
    one, other = pair[closer], pair[1 - closer]
    one.send([b"last words"])
    one.close()
    assert as_bytes(other.receive(5)) == [b"last words"]
    for _ in range(2):
        with pytest.raises(ConnectionLost) as caught:
            other.receive(5)
    assert other.url in str(caught.value)


@pytest.mark.parametrize("closer", [0, 1], ids=["client", "server"])
def test_sending_to_one_who_left_raises(pair, closer):
    one, other = pair[closer], pair[1 - closer]
    one.close()

    def send_on():
        for _ in range(100):
            other.send([bytes(1 << 16)])
            time.sleep(0.001)

    with pytest.raises(ConnectionLost):
        send_on()


def test_close_wakes_a_receiver_of_this_end(pair, background):
    client, _ = pair
    waiting = background(client.receive)
    time.sleep(0.1)
    client.close()
    with pytest.raises(ConnectionLost):
        waiting(5)


def test_close_wakes_a_blocked_sender(pair, background):
    client, server = pair
    sending = background(lambda: [client.send([bytes(1 << 20)]) for _ in range(64)])
    time.sleep(0.2)
    server.close()
    with pytest.raises(ConnectionLost):
        sending(5)


def test_close_is_idempotent_and_final(pair):
    client, _ = pair
    client.close()
    client.close()
    with pytest.raises(ConnectionLost):
        client.receive(1)
    with pytest.raises(ConnectionLost):
        client.send([b"x"])


def test_counters(pair):
    client, server = pair
    for size in (10, 1000):
        client.send([bytes(size), b"abc"])
        server.receive(5)
    assert client.messages_sent == server.messages_received == 2
    assert client.bytes_sent == server.bytes_received >= 1016
    assert client.messages_received == client.bytes_received == 0


def test_a_message_past_the_cap_is_not_sent(make_pair):
    client, server = make_pair()
    client._cap = 1000
    with pytest.raises(ProtocolError, match="GENIE_MAX_MESSAGE"):
        client.send([bytes(600), bytes(600)])
    client.send([bytes(1000)])
    assert len(server.receive(5)[0]) == 1000


def test_channels_do_not_mix(make_pair, background):
    def talk(pair, mark):
        for i in range(300):
            pair[0].send([b"%d %d" % (mark, i)])
            pair[1].send([bytes(pair[1].receive(5)[0]) + b"!"])
            assert bytes(pair[0].receive(5)[0]) == b"%d %d!" % (mark, i)

    talks = [background(talk, make_pair(), mark) for mark in range(8)]
    for result in talks:
        result()
