"""The address inproc://: an executor on a thread of this process."""

from __future__ import annotations

import importlib
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from genie_core.errors import ConnectionFailed, ConnectionLost, SettingsError
from genie_core.settings import Settings
from genie_plugins import transport_inproc, transport_tcp
from genie_plugins.transport_inproc.embedded import device_of, open_embedded

PLUGINS = importlib.import_module("genie_core.plugins")


class Echo:
    """An executor that sends back what it gets."""

    closed = False
    device = "cpu"

    def serve(self, channel):
        while True:
            try:
                channel.send(channel.receive())
            except ConnectionLost:
                return

    def close(self):
        self.closed = True


@pytest.fixture
def asked(monkeypatch):
    """Plugins that make an Echo; holds the devices asked for."""
    made = SimpleNamespace(devices=[], executor=Echo())

    def make(device, settings):
        made.devices.append(device)
        return made.executor

    hook = SimpleNamespace(genie_make_executor=make)
    monkeypatch.setattr(PLUGINS, "manager", lambda: SimpleNamespace(hook=hook))
    return made


def executor_threads():
    return {t for t in threading.enumerate() if t.name == "genie-executor"}


def test_opens_serves_and_closes(asked):
    others = executor_threads()  # the device's own, if other tests opened it
    channel = transport_inproc.genie_open_transport("inproc://?device=cpu", Settings())
    assert asked.devices == ["cpu"]
    channel.send([b"hello"])
    assert bytes(channel.receive(5)[0]) == b"hello"
    assert len(executor_threads() - others) == 1
    channel.close()
    channel.close()
    assert executor_threads() == others
    assert asked.executor.closed


def test_an_executor_that_raises_closes_the_channel(asked, monkeypatch):
    def serve(channel):
        raise RuntimeError("executor broke")

    monkeypatch.setattr(asked.executor, "serve", serve, raising=False)
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    channel = open_embedded("inproc://", Settings())
    with pytest.raises(ConnectionLost):
        channel.receive(5)
    channel.close()


def test_the_device_an_address_names():
    best = "cuda" if torch.cuda.is_available() else "cpu"
    assert device_of("inproc://") == best
    assert device_of("inproc://?device=cuda:1") == "cuda:1"


@pytest.mark.parametrize("url", ["inproc://host", "inproc:///path", "inproc://?devise=cpu"])
def test_bad_addresses(url):
    with pytest.raises(SettingsError, match="give inproc://"):
        device_of(url)


def test_nobody_makes_executors(monkeypatch):
    hook = SimpleNamespace(genie_make_executor=lambda **_: None)
    monkeypatch.setattr(PLUGINS, "manager", lambda: SimpleNamespace(hook=hook))
    with pytest.raises(ConnectionFailed, match="genie plugins"):
        open_embedded("inproc://", Settings())


def test_other_schemes_are_left_to_others():
    for url in ("shm:///run/x", "tcpx://host:1", "http://inproc"):
        assert transport_inproc.genie_open_transport(url, Settings()) is None
        assert transport_tcp.genie_open_transport(url, Settings()) is None
        assert transport_tcp.genie_open_listener(url, Settings()) is None


def test_the_tcp_hooks_connect():
    listener = transport_tcp.genie_open_listener("tcp://127.0.0.1:0", Settings())
    client = transport_tcp.genie_open_transport(listener.url, Settings())
    server = listener.accept()
    client.send([b"hi"])
    assert bytes(server.receive(5)[0]) == b"hi"
    for each in (client, server, listener):
        each.close()


EXIT = """
from types import SimpleNamespace
from importlib import import_module
from genie_core.settings import Settings
from genie_plugins.transport_inproc.embedded import open_embedded

class Executor:
    def serve(self, channel):
        try:
            channel.receive()
        except Exception:
            print("left", flush=True)
    def close(self):
        print("closed", flush=True)

hook = SimpleNamespace(genie_make_executor=lambda **_: Executor())
import_module("genie_core.plugins").manager = lambda: SimpleNamespace(hook=hook)
channel = open_embedded("inproc://?device=cpu", Settings())
print("end", flush=True)
"""


def test_the_executor_ends_before_the_interpreter():
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split()) == (0, ["end", "left", "closed"]), done.stderr
