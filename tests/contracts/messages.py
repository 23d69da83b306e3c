"""Messages arrive whole, in order, as they were sent, whatever their size."""

from __future__ import annotations

import hashlib
import mmap
import os
import random
import tracemalloc

import pytest

from genie_core.contracts import Channel
from genie_core.errors import ProtocolError

from .base import Fixtures

LARGEST = int(os.environ.get("GENIE_CONTRACTS_LARGEST", str(96 << 20)))
"""Bytes of the largest message; the whole contract is 4 GiB, which few ordinary runs can spare."""
SIZES = (1, 65_535, 65_536, 65_537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1)


def as_bytes(parts):
    return [bytes(part) for part in parts]


class Messages(Fixtures):
    """Order, integrity, sizes, and no copies that the medium does not need."""

    def test_both_ends_are_channels(self, pair):
        assert all(isinstance(channel, Channel) for channel in pair)

    def test_a_message_arrives_as_it_was_sent(self, pair):
        client, server = pair
        client.send([b"head", bytearray(b"two"), memoryview(b"three")])
        assert as_bytes(server.receive(5)) == [b"head", b"two", b"three"]
        server.send([b"back"])
        assert as_bytes(client.receive(5)) == [b"back"]

    def test_messages_keep_their_order(self, pair, background):
        client, server = pair
        sent = background(lambda: [client.send([b"%d" % i]) for i in range(5000)])
        assert [bytes(server.receive(5)[0]) for _ in range(5000)] == [
            b"%d" % i for i in range(5000)
        ]
        sent()

    def test_messages_of_any_sizes_are_what_they_were(self, pair, background):
        client, server = pair
        dice = random.Random(7)
        blob = os.urandom(1 << 20)
        messages = [
            [blob[: int(2 ** dice.uniform(0, 20))] for _ in range(dice.randrange(6))]
            for _ in range(200)
        ]
        sent = background(lambda: [client.send(message) for message in messages])
        for message in messages:
            assert as_bytes(server.receive(5)) == message
        sent()

    def test_a_large_part_between_small_ones(self, pair, background):
        client, server = pair
        big = os.urandom(1 << 20) * 32
        sent = background(client.send, [b"head", big, b"tail"])
        head, body, tail = server.receive(20)
        sent()
        assert (bytes(head), bytes(tail)) == (b"head", b"tail")
        assert hashlib.sha256(body).digest() == hashlib.sha256(big).digest()

    @pytest.mark.parametrize("size", SIZES)
    def test_sizes_around_buffer_limits(self, pair, background, size):
        client, server = pair
        data = os.urandom(size)
        sent = background(client.send, [b"x" * 7, data, data[:3]])
        assert as_bytes(server.receive(5)) == [b"x" * 7, data, data[:3]]
        sent()

    def test_empty_parts_and_no_parts(self, pair):
        client, server = pair
        for message in ([b""], [b"", b"a", b""], []):
            client.send(message)
            assert as_bytes(server.receive(5)) == message

    def test_more_parts_than_one_system_call_takes(self, pair, background):
        client, server = pair
        message = [os.urandom(i % 50) for i in range(5000)]
        sent = background(client.send, message)
        assert as_bytes(server.receive(10)) == message
        sent()

    def test_the_largest_message(self, pair, background):
        client, server = pair
        marks = {0: b"first", LARGEST // 2: b"middle", LARGEST - 4: b"last"}
        with mmap.mmap(-1, LARGEST) as memory:  # pages that nobody writes cost nothing
            for place, mark in marks.items():
                memory[place : place + len(mark)] = mark
            with memoryview(memory) as data:
                sent = background(client.send, [b"head", data])
                head, body = server.receive(60)
                sent(1800)
        assert (bytes(head), len(body)) == (b"head", LARGEST)
        for place, mark in marks.items():
            assert bytes(body[place : place + len(mark)]) == mark
            assert not any(body[place + len(mark) : place + 4096])

    def test_parts_of_other_formats_count_bytes(self, pair):
        client, server = pair
        numbers = memoryview(bytearray(24)).cast("d")
        numbers[1] = 1.5
        client.send([numbers])
        (part,) = server.receive(5)
        assert part.cast("d").tolist() == [0.0, 1.5, 0.0]

    def test_a_strided_buffer_is_refused_and_harms_nothing(self, pair):
        client, server = pair
        with pytest.raises(ValueError, match="contiguous"):
            client.send([memoryview(b"abcdef")[::2]])
        client.send([b"fine"])
        assert as_bytes(server.receive(5)) == [b"fine"]

    def test_a_sent_buffer_may_be_reused(self, pair):
        client, server = pair
        buffer = bytearray(b"first")
        client.send([buffer])
        buffer[:] = b"later"
        assert as_bytes(server.receive(5)) == [b"first"]

    def test_received_parts_outlive_the_next_message(self, pair):
        client, server = pair
        client.send([b"first"])
        client.send([b"later"])
        first, later = server.receive(5), server.receive(5)
        assert as_bytes([*first, *later]) == [b"first", b"later"]

    def test_parts_are_gathered_without_a_copy(self, pair, background):
        client, server = pair
        part = bytes(8 << 20)
        tracemalloc.start()
        try:
            sent = background(client.send, [b"head", part, part, b"tail"])
            received = server.receive(20)
            sent()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert [len(each) for each in received] == [4, len(part), len(part), 4]
        assert peak < 2.5 * len(part)  # what is received, and nothing else of that size

    @pytest.mark.parametrize("size", [0, 1, 1000, 1 << 17, 3 << 20])
    def test_a_second_part_is_received_where_it_is_wanted(self, pair, background, size):
        client, server = pair
        wanted = os.urandom(size)
        place = memoryview(bytearray(size))
        message = [b"head", wanted, b"tail"]
        sent = background(lambda: [client.send(message) for _ in range(2)])
        for into in (place, None):
            received = server.receive(10, into)
            assert as_bytes(received) == message
            assert (received[1] is place) is (into is place)
        sent()
        assert place == wanted

    @pytest.mark.parametrize("message", [[], [b"head"], [b"head", b"12345"], [b"12", b"", b"1234"]])
    def test_a_place_of_another_length_is_left_alone(self, pair, message):
        client, server = pair
        place = memoryview(bytearray(b"kept"))
        client.send(message)
        assert as_bytes(server.receive(5, place)) == message
        assert place == b"kept"

    def test_a_message_past_the_cap_is_not_sent(self, make_pair):
        client, server = make_pair(max_message=2000)
        with pytest.raises(ProtocolError, match="GENIE_MAX_MESSAGE"):
            client.send([bytes(1200), bytes(1200)])
        client.send([bytes(2000)])
        assert len(server.receive(5)[0]) == 2000

    def test_counters(self, pair):
        client, server = pair
        for size in (10, 1000):
            client.send([bytes(size), b"abc"])
            server.receive(5)
        assert client.messages_sent == server.messages_received == 2
        assert client.bytes_sent == server.bytes_received >= 1016
        assert client.messages_received == client.bytes_received == 0
