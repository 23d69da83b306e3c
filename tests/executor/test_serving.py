"""`genie serve`: its loop against contracts, then real processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import types

import pytest
from click.testing import CliRunner

from genie_core import plugins
from genie_core.errors import ConnectionLost, SettingsError
from genie_core.settings import Settings
from genie_plugins import cli
from genie_plugins.executor import serving


def run(*args):
    return CliRunner().invoke(cli.main, args)


@pytest.fixture
def hooks(monkeypatch):
    def stand_in(**hooks):
        fake = types.SimpleNamespace(hook=types.SimpleNamespace(**hooks))
        monkeypatch.setattr(serving, "manager", lambda: fake)

    return stand_in


class FakeChannel:
    def __init__(self, url="fake://client"):
        self.url = url
        self.closed = threading.Event()

    def close(self):
        self.closed.set()


class FakeListener:
    url = "fake://bound:1234"

    def __init__(self, *arrivals):
        self._arrivals = list(arrivals)
        self.closed = threading.Event()

    def accept(self):
        if self._arrivals:
            arrival = self._arrivals.pop(0)
            if isinstance(arrival, Exception):
                raise arrival
            return arrival
        self.closed.wait(30)
        raise ConnectionLost(self.url, "closed")

    def close(self):
        self.closed.set()


class FakeExecutor:
    device = "cpu"

    def __init__(self, behave=lambda channel: channel.closed.wait(30)):
        self._behave = behave
        self.served = []
        self.closed = False

    def serve(self, channel):
        self.served.append(channel)
        self._behave(channel)

    def close(self):
        self.closed = True


def wait_for(condition):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def run_server(listener, executor, **options):
    server = serving.Server(listener, executor, **options)
    thread = threading.Thread(target=server.run)
    thread.start()
    return server, thread


def test_the_server_ends_by_closing_listener_then_clients_then_executor():
    listener, executor = FakeListener(a := FakeChannel(), b := FakeChannel()), FakeExecutor()
    server, thread = run_server(listener, executor, grace=0.1)
    wait_for(lambda: len(executor.served) == 2)
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert listener.closed.is_set()
    assert a.closed.is_set()
    assert b.closed.is_set()
    assert executor.closed


def test_a_client_that_leaves_in_time_is_not_cut_off():
    left = threading.Event()

    def finish_soon(channel):
        left.cut_off = channel.closed.wait(0.3)
        left.set()

    executor = FakeExecutor(finish_soon)
    server, thread = run_server(FakeListener(FakeChannel()), executor, grace=30.0)
    wait_for(lambda: executor.served)
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert left.is_set()
    assert left.cut_off is False


def test_a_second_stop_ends_the_grace_period():
    executor = FakeExecutor()
    server, thread = run_server(FakeListener(channel := FakeChannel()), executor, grace=60.0)
    wait_for(lambda: executor.served)
    server.stop()
    server.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert channel.closed.is_set()


def test_one_clients_fault_ends_its_own_session_only(capsys):
    def fail(channel):
        if channel.url == "fake://bad":
            raise ValueError("kaputt")
        channel.closed.wait(30)

    bad, good = FakeChannel("fake://bad"), FakeChannel("fake://good")
    handshake = SettingsError("token", "x", "no")
    executor = FakeExecutor(fail)
    server, thread = run_server(FakeListener(bad, handshake, good), executor, grace=0.0, threads=1)
    wait_for(lambda: len(executor.served) == 2 and bad.closed.is_set())
    assert not good.closed.is_set()
    server.stop()
    thread.join(10)
    log = capsys.readouterr().err
    assert "kaputt" in log
    assert "client.refused" in log


def test_a_listener_that_breaks_ends_the_server(capsys):
    listener = FakeListener(ConnectionLost("fake://bound", "no more files"))
    _, thread = run_server(listener, FakeExecutor())
    thread.join(10)
    assert not thread.is_alive()
    assert "listener.lost" in capsys.readouterr().err


@pytest.mark.parametrize(("hook", "named"), [("listener", "URL"), ("executor", "--device")])
def test_serve_says_when_no_plugin_knows_the_address_or_the_device(hooks, hook, named):
    executor = FakeExecutor()
    hooks(
        genie_open_listener=lambda url, settings: None,
        genie_make_executor=lambda device, settings: None if hook == "executor" else executor,
    )
    result = run("serve", "pigeon://loft", "--device", "abacus")
    assert result.exit_code == 1
    assert f"{named}=" in result.output
    assert "see `genie plugins`" in " ".join(result.output.replace("│", "").split())
    assert executor.closed is (hook == "listener")


def test_serve_announces_the_bound_address_first(hooks, monkeypatch):
    monkeypatch.setattr(serving.signal, "signal", lambda signum, handler: None)
    monkeypatch.setattr(serving.Server, "run", lambda self: None)
    hooks(
        genie_open_listener=lambda url, settings: FakeListener(),
        genie_make_executor=lambda device, settings: FakeExecutor(),
    )
    result = run("serve", "fake://bound:0")
    assert result.exit_code == 0
    assert result.stdout == "fake://bound:1234\n"
    assert "serving cpu" in result.stderr


# --- a real process -----------------------------------------------------------------------------


@pytest.fixture
def server():
    command = [sys.executable, "-m", "genie_plugins.cli", "serve", "tcp://127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--threads", "1", "--grace", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "GENIE_LOG": "info"},
    )
    yield process
    process.kill()
    process.communicate()


def test_threads_of_the_command_outrank_those_of_a_client(hooks, monkeypatch):
    monkeypatch.setattr(serving.signal, "signal", lambda signum, handler: None)
    monkeypatch.setattr(serving.Server, "run", lambda self: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    hooks(
        genie_open_listener=lambda url, settings: FakeListener(),
        genie_make_executor=lambda device, settings: FakeExecutor(),
    )
    assert run("serve", "fake://bound:0", "--threads", "1").exit_code == 0
    assert os.environ["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_real_server_announces_its_port_and_ends_gracefully(server, signum):
    url = server.stdout.readline().strip()
    assert url.startswith("tcp://127.0.0.1:")
    port = int(url.rpartition(":")[2])
    assert port > 0
    socket.create_connection(("127.0.0.1", port), timeout=10).close()
    server.send_signal(signum)
    _, log = server.communicate(timeout=30)
    assert server.returncode == 0, log
    assert "Traceback" not in log
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_a_real_server_answers_the_plugins_own_client(server):
    url = server.stdout.readline().strip()
    channel = plugins.manager().hook.genie_open_transport(url=url, settings=Settings())
    assert channel.url == url
    channel.close()


def test_an_address_in_use_is_one_clear_line(server):
    url = server.stdout.readline().strip()
    result = subprocess.run(
        [sys.executable, "-m", "genie_plugins.cli", "serve", url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert url in result.stderr
    assert "Traceback" not in result.stderr
