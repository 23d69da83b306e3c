"""Ends that leave: nothing that was sent is lost, nobody waits for ever, nothing stays behind."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import weakref

import pytest

from genie_core.errors import ConnectionLost

from .base import Fixtures

SIDES = pytest.mark.parametrize("closer", [0, 1], ids=["client", "server"])


class Endings(Fixtures):
    """Closing, half-closed connections, and what is left behind."""

    @SIDES
    def test_what_was_sent_before_a_close_arrives(self, pair, closer):
        one, other = pair[closer], pair[1 - closer]
        one.send([b"last words"])
        one.send([bytes(1 << 16)])
        one.close()
        assert bytes(other.receive(5)[0]) == b"last words"
        assert len(other.receive(5)[0]) == 1 << 16
        for _ in range(2):
            with pytest.raises(ConnectionLost) as caught:
                other.receive(5)
        assert other.url in str(caught.value)

    @SIDES
    def test_sending_to_one_who_left_raises(self, pair, closer):
        one, other = pair[closer], pair[1 - closer]
        one.close()

        def send_on():
            for _ in range(1000):
                other.send([bytes(1 << 16)])
                time.sleep(0.001)

        with pytest.raises(ConnectionLost):
            send_on()

    def test_close_wakes_a_receiver_of_this_end(self, pair, background):
        client, _ = pair
        waiting = background(client.receive)
        time.sleep(0.1)
        client.close()
        with pytest.raises(ConnectionLost):
            waiting(10)

    def test_close_wakes_a_receiver_with_a_timeout(self, pair, background):
        client, _ = pair
        waiting = background(client.receive, 300.0)
        time.sleep(0.1)
        client.close()
        with pytest.raises(ConnectionLost):
            waiting(10)

    @SIDES
    def test_close_wakes_a_blocked_sender(self, pair, background, closer):
        sending = background(lambda: [pair[0].send([bytes(1 << 20)]) for _ in range(1024)])
        time.sleep(0.3)
        pair[closer].close()
        with pytest.raises(ConnectionLost):
            sending(10)

    def test_close_is_idempotent_and_final(self, pair):
        client, _ = pair
        client.close()
        client.close()
        with pytest.raises(ConnectionLost):
            client.receive(1)
        with pytest.raises(ConnectionLost):
            client.send([b"x"])

    def test_threads_may_close_at_once(self, pair, background):
        for result in [background(channel.close) for channel in pair * 8]:
            result()

    def test_nothing_is_left_behind(self, make_pair):
        make_pair()[0].close()  # what is made once and kept
        before = self._possessions()
        gone = [self._talk_and_leave(make_pair()) for _ in range(20)]
        deadline = time.monotonic() + 10
        while self._possessions() > before and time.monotonic() < deadline:
            time.sleep(0.05)  # a thread that is about to end
        after = self._possessions()
        assert after[0] <= before[0], "descriptors"
        assert after[1] <= before[1], "threads"
        gc.collect()
        # The fixtures still hold the bound `close` of each: what must be gone are the messages.
        assert not [part for parts in gone for part in parts if part() is not None]

    @staticmethod
    def _possessions():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    @staticmethod
    def _talk_and_leave(pair):
        client, server = pair
        client.send([bytes(1 << 16)])
        received = server.receive(5)
        client.send([b"never read"])
        for channel in pair:
            channel.close()
        with contextlib.suppress(ConnectionLost):
            server.receive(0)
        return [weakref.ref(part) for part in received]
