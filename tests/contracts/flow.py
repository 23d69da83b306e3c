"""Back-pressure, waiting and giving up, both ways at once, many sessions."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from genie_core.errors import ConnectionLost

from .base import Fixtures


class Flow(Fixtures):
    """Who waits for whom, and how a wait ends."""

    def test_back_pressure_stops_the_sender(self, pair, background):
        client, server = pair
        block = bytes(1 << 20)
        total = 256
        sent = background(lambda: [client.send([block]) for _ in range(total)])
        time.sleep(0.5)
        assert sent.running()
        assert client.messages_sent < total
        for _ in range(total):
            assert len(server.receive(5)[0]) == len(block)
        sent()

    def test_both_ways_at_once(self, pair, background):
        block = os.urandom(3 << 20)

        def talk(channel):
            def send():
                for _ in range(10):
                    channel.send([block])

            sender = threading.Thread(target=send, daemon=True)
            sender.start()
            same = [bytes(channel.receive(10)[0]) == block for _ in range(10)]
            sender.join(10)
            return same

        one, other = (background(talk, channel) for channel in pair)
        assert one() == other() == [True] * 10

    def test_a_sender_need_not_wait_for_a_receiver_of_its_own_end(self, pair, background):
        client, server = pair
        waiting = background(client.receive)
        time.sleep(0.1)
        for i in range(50):
            client.send([b"%d" % i])
            assert bytes(server.receive(5)[0]) == b"%d" % i
        assert waiting.running()
        server.send([b"at last"])
        assert bytes(waiting()[0]) == b"at last"

    def test_a_timeout_leaves_the_channel_usable(self, pair):
        client, server = pair
        start = time.monotonic()
        with pytest.raises(TimeoutError):
            server.receive(0.05)
        assert time.monotonic() - start > 0.03
        client.send([b"late"])
        assert bytes(server.receive(5)[0]) == b"late"
        with pytest.raises(TimeoutError):
            server.receive(0)

    def test_an_interrupted_wait_ends(self, pair):
        def interrupt(*_):
            raise KeyboardInterrupt

        old = signal.signal(signal.SIGUSR1, interrupt)
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1)).start()
        try:
            with pytest.raises(KeyboardInterrupt):
                pair[1].receive(30)
        finally:
            signal.signal(signal.SIGUSR1, old)
        pair[0].send([b"later"])
        with contextlib.suppress(ConnectionLost):  # of a medium that cannot go on from there
            assert bytes(pair[1].receive(5)[0]) == b"later"

    def test_many_sessions_do_not_mix(self, make_pair, background):
        def talk(pair, mark):
            client, server = pair
            for i in range(100):
                client.send([b"%d %d" % (mark, i)])
                server.send([bytes(server.receive(20)[0]) + b"!"])
                assert bytes(client.receive(20)[0]) == b"%d %d!" % (mark, i)

        talks = [background(talk, make_pair(), mark) for mark in range(32)]
        for result in talks:
            result(60)
