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


class TestTls(TransportContract):
    """A certificate and a token."""

    @pytest.fixture
    def fresh_url(self):
        return lambda: "tls://127.0.0.1:0"

    @pytest.fixture
    def settings(self, client_settings, monkeypatch):
        monkeypatch.setenv("GENIE_TLS_CA", client_settings.tls_ca)
        monkeypatch.setenv("GENIE_TOKEN_FILE", client_settings.token_file)
        return client_settings

    @pytest.fixture
    def listener_settings(self, server_settings):
        return server_settings
