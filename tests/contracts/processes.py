"""A peer in another process that vanishes."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from genie_core.errors import ConnectionLost

from .base import Fixtures

PEER = """
import sys
from genie_core.plugins import manager
from genie_core.settings import Settings
channel = manager().hook.genie_open_transport(url=sys.argv[1], settings=Settings.from_env())
channel.send([b"here"])
channel.receive()
"""


@pytest.mark.usefixtures("settings")
class Processes(Fixtures):
    """The peer connects by its environment's settings, and is killed."""

    def test_a_peer_that_is_killed_is_noticed(self, listen, accept, background):
        listener = listen()
        peer = subprocess.Popen([sys.executable, "-c", PEER, listener.url])
        try:
            channel = background(accept, listener)(60)
            assert bytes(channel.receive(10)[0]) == b"here"
            waiting = background(channel.receive)
            time.sleep(0.1)
        finally:
            peer.kill()
            peer.wait()
        with pytest.raises(ConnectionLost) as caught:
            waiting(10)
        assert caught.value.url == channel.url
        with pytest.raises(ConnectionLost):
            channel.send([b"anyone?"])
