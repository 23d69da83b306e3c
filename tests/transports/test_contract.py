"""The built-in transports keep the contract."""

from __future__ import annotations

import contextlib
import itertools
import tempfile

import pytest
from contracts import ChannelContract, ListenerContract, TransportContract

from genie_plugins.transport_inproc.channel import channel_pair


class TestInproc(ChannelContract):
    """Both ends in one process, with a short queue."""

    @pytest.fixture
    def make_pair(self):
        with contextlib.ExitStack() as stack:

            def make(max_message=8 << 30):
                pair = channel_pair("inproc://", max_message, backlog=1 << 20)
                for channel in pair:
                    stack.callback(channel.close)
                return pair

            yield make


class TestTcp(TransportContract):
    @pytest.fixture
    def fresh_url(self):
        return lambda: "tcp://127.0.0.1:0"


class TestTcpOverIpv6(ListenerContract):
    @pytest.fixture
    def fresh_url(self):
        return lambda: "tcp://[::1]:0"


class TestUnix(TransportContract):
    @pytest.fixture
    def fresh_url(self):
        with tempfile.TemporaryDirectory() as folder:  # tmp_path is too long for a socket
            numbers = itertools.count()
            yield lambda: f"unix://{folder}/{next(numbers)}"
