from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import click
import pytest
from click.testing import CliRunner

from genie_core import cli, doctor, plugins, serving
from genie_core.errors import ConnectionFailed, ConnectionLost, PluginError, SettingsError
from genie_core.plugins import PluginStatus
from genie_core.settings import Settings

BUILT_IN = {"demo", "serve", "plugins", "doctor", "bench"}


class Hooks:
    """Stands in for the manager: whatever hooks a test gives it."""

    def __init__(self, **hooks):
        self.hook = self
        self._rows = hooks.pop("rows", [])
        self.__dict__.update(hooks)

    def genie_cli(self, cli): ...

    def status(self):
        return self._rows


@pytest.fixture
def install(monkeypatch):
    def with_hooks(**hooks):
        fake = Hooks(**hooks)
        monkeypatch.setattr(plugins, "manager", lambda: fake)
        monkeypatch.setattr(serving, "manager", lambda: fake)
        monkeypatch.setattr(cli.main, "_extended", False)
        return fake

    return with_hooks


def run(*args):
    return CliRunner().invoke(cli.main, args)


def test_help_lists_the_commands(install):
    install()
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in BUILT_IN)


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("genie, version ")


def test_plugins_add_commands_but_cannot_replace_built_in_ones(install):
    def genie_cli(cli):
        cli.add_command(click.Command("extra", callback=lambda: click.echo("extra ran")))
        cli.add_command(click.Command("plugins", callback=lambda: click.echo("hijacked")))

    install(genie_cli=genie_cli)
    assert run("extra").output == "extra ran\n"
    assert "hijacked" not in run("plugins").output


def test_a_plugin_that_fails_to_add_commands_is_named_and_the_rest_works(install):
    def genie_cli(cli):
        raise PluginError("acme", "genie_cli", "KeyError: 1")

    install(genie_cli=genie_cli)
    result = run("--help")
    assert result.exit_code == 0
    assert "plugin 'acme' failed" in result.output
    assert "doctor" in result.output


ROWS = [
    PluginStatus("good", "1.0", "good-dist", ("genie_cli", "genie_fallback"), "loaded"),
    PluginStatus("poor", "2.0", "poor-dist", (), "failed", "import failed: [no] reason"),
]


def test_plugins_as_a_table(install):
    install(rows=ROWS)
    output = run("plugins").output
    for part in ("good", "fallback", "loaded", "failed", "[no]"):
        assert part in output


def test_plugins_as_json(install):
    install(rows=ROWS)
    first, second = json.loads(run("plugins", "--json").output)
    assert first["hooks"] == ["genie_cli", "genie_fallback"]
    assert second["state"] == "failed"
    assert "import failed" in second["reason"]


def test_bench_of_an_unknown_name_lists_the_names():
    result = run("bench", "nothing")
    assert result.exit_code == 2
    assert "capture" in result.output
    assert "models" in result.output


def test_doctor_of_a_sound_installation():
    result = run("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(result.output)}
    assert {"python", "torch", "extension", "transports", "executors"} <= set(checks)
    assert not [check for check in checks.values() if check["state"] == "missing"]
    assert result.exit_code == 0
    assert "extension" in run("doctor").output


def test_doctor_names_what_is_missing_and_the_remedy(install, monkeypatch):
    def refuse(url, settings):
        raise ConnectionFailed(url, "refused")

    monkeypatch.setenv("GENIE_DEVICES", "tcp://127.0.0.1:9")
    install(genie_open_transport=refuse, rows=ROWS)
    checks = {check.name: check for check in doctor.examine()}
    assert checks["plugin poor"].state == "missing"
    assert checks["executors"].remedy == "no plugin for it is loaded: see `genie plugins`"
    assert "genie serve tcp://127.0.0.1:9" in checks["remote_accelerator:0"].remedy
    assert run("doctor").exit_code == 1


def test_doctor_survives_bad_settings_and_a_broken_extension(install, monkeypatch):
    install(rows=ROWS)
    monkeypatch.setenv("GENIE_DEVICES", "nonsense")
    monkeypatch.setitem(sys.modules, "genie_core._native", None)
    checks = {check.name: check for check in doctor.examine()}
    assert "GENIE_DEVICES='nonsense'" in checks["devices"].remedy
    assert checks["extension"].remedy == doctor.REBUILD


def test_doctor_says_when_nobody_knows_an_address(install, monkeypatch):
    monkeypatch.setenv("GENIE_DEVICES", "pigeon://loft")
    install(genie_open_transport=lambda url, settings: None)
    checks = {check.name: check for check in doctor.examine()}
    assert "no loaded plugin" in checks["remote_accelerator:0"].remedy


# --- serve: the loop, against contracts ----------------------------------------------------


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
def test_serve_says_when_no_plugin_knows_the_address_or_the_device(install, hook, named):
    executor = FakeExecutor()
    install(
        genie_open_listener=lambda url, settings: None,
        genie_make_executor=lambda device, settings: None if hook == "executor" else executor,
    )
    result = run("serve", "pigeon://loft", "--device", "abacus")
    assert result.exit_code == 1
    assert f"{named}=" in result.output
    assert "see `genie plugins`" in " ".join(result.output.replace("│", "").split())
    assert executor.closed is (hook == "listener")


def test_serve_announces_the_bound_address_first(install, monkeypatch):
    monkeypatch.setattr(serving.signal, "signal", lambda signum, handler: None)
    monkeypatch.setattr(serving.Server, "run", lambda self: None)
    install(
        genie_open_listener=lambda url, settings: FakeListener(),
        genie_make_executor=lambda device, settings: FakeExecutor(),
    )
    result = run("serve", "fake://bound:0")
    assert result.exit_code == 0
    assert result.stdout == "fake://bound:1234\n"
    assert "serving cpu" in result.stderr


# --- serve: a real process --------------------------------------------------------------------


@pytest.fixture
def server():
    command = [sys.executable, "-m", "genie_core.cli", "serve", "tcp://127.0.0.1:0"]
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
        [sys.executable, "-m", "genie_core.cli", "serve", url],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 1
    assert url in result.stderr
    assert "Traceback" not in result.stderr
