from __future__ import annotations

import json
import sys
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from genie_core import hookimpl, plugins
from genie_core.errors import ConnectionFailed
from genie_core.plugins import Plugin, PluginManager
from genie_core.settings import Settings
from genie_plugins import cli
from genie_plugins.doctor import checks as doctor
from genie_plugins.doctor import genie_cli as add_commands

BUILT_IN = {"bench", "certs", "demo", "doctor", "explain", "plugins", "serve"}


@pytest.fixture(autouse=True)
def _forget_commands(monkeypatch):
    """Each test starts as a process does: no plugin has added commands."""
    monkeypatch.setattr(cli.main, "commands", {})
    monkeypatch.setattr(cli.main, "_extended", False)


@pytest.fixture
def use(monkeypatch):
    """Make a manager the process's own."""
    return lambda manager: monkeypatch.setattr(plugins, "_manager", manager)


class Hooks:
    """Stands in for the manager: whatever hooks a test gives it."""

    def __init__(self, plugins=(), **hooks):
        self.hook = self
        self.plugins = plugins
        self.__dict__.update(hooks)

    def call_each(self, hook, **arguments):
        add_commands(**arguments)
        return []


def run(*args):
    return CliRunner().invoke(cli.main, args)


def with_plugins(**modules):
    """A manager with the built-in plugins and these functions as `genie_cli` of more of them."""
    manager = PluginManager()
    manager.load(Settings())
    for name, genie_cli in modules.items():
        plugin = type(name, (), {"genie_cli": staticmethod(hookimpl(tryfirst=True)(genie_cli))})
        manager._pluggy.register(plugin, name=name)
        manager.plugins.insert(0, Plugin(name, name))
    return manager


def command(name, says):
    return click.Command(name, callback=lambda: click.echo(says))


def test_help_lists_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in BUILT_IN)
    assert set(cli.main.commands) == BUILT_IN


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("genie, version ")


def test_a_plugin_adds_a_command(use):
    use(with_plugins(acme=lambda cli: cli.add_command(command("extra", "extra ran"))))
    assert run("extra").output == "extra ran\n"


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_no_plugin_replaces_a_built_in_command(use, name):
    use(with_plugins(acme=lambda cli: cli.add_command(command(name, "hijacked"))))
    assert f"there is a command '{name}' already" in run("--help").output
    assert set(cli.main.commands) == BUILT_IN
    assert cli.main.commands[name].help


def test_a_plugin_that_fails_to_add_commands_is_named_and_costs_its_own_only(use):
    def fail(cli):
        raise KeyError(1)

    use(with_plugins(acme=fail, better=lambda cli: cli.add_command(command("extra", "extra ran"))))
    result = run("extra")
    assert result.exit_code == 0
    assert "plugin 'acme' failed in hook genie_cli" in result.output
    assert "extra ran" in result.output
    assert set(cli.main.commands) == BUILT_IN | {"extra"}


def test_a_command_that_no_plugin_brings_is_refused_and_says_where_they_come_from():
    result = run("fly")
    assert result.exit_code == 2
    assert "genie plugins" in result.output


def test_bad_settings_are_named_and_help_is_shown_all_the_same(use, monkeypatch):
    use(None)
    monkeypatch.setenv("GENIE_CONNECT_TIMEOUT", "soon")
    result = run("--help")
    assert result.exit_code == 0
    assert "GENIE_CONNECT_TIMEOUT='soon'" in result.output
    assert "--version" in result.output
    result = run("serve", "tcp://127.0.0.1:0")
    assert result.exit_code == 1
    assert "GENIE_CONNECT_TIMEOUT='soon'" in result.output


def test_a_command_whose_plugin_is_blocked_is_refused_and_says_so(use, monkeypatch):
    manager = PluginManager()
    manager.load(Settings(block_plugins=("doctor",)))
    use(manager)
    result = run("plugins")
    assert result.exit_code == 2
    assert "Not loaded: doctor (named in GENIE_BLOCK_PLUGINS)." in " ".join(
        result.output.replace("│", " ").split()
    )


PLUGINS = [
    Plugin("doctor", "genie_plugins.doctor", hooks=("genie_cli", "genie_fallback")),
    Plugin("poor", "poor", "failed", "import failed: [no] reason"),
]


def test_plugins_as_a_table(use):
    use(Hooks(plugins=PLUGINS))
    output = run("plugins").output
    for part in ("doctor", "genie-remote", "fallback", "loaded", "failed", "[no]"):
        assert part in output


def test_plugins_as_json(use):
    use(Hooks(plugins=PLUGINS))
    first, second = json.loads(run("plugins", "--json").output)
    assert (first["dist"], first["version"]) == ("genie-remote", version("genie-remote"))
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


def test_doctor_names_what_is_missing_and_the_remedy(use, monkeypatch):
    def refuse(url, settings):
        raise ConnectionFailed(url, "refused")

    monkeypatch.setenv("GENIE_DEVICES", "tcp://127.0.0.1:9")
    use(Hooks(genie_open_transport=refuse, plugins=PLUGINS))
    checks = {check.name: check for check in doctor.examine()}
    assert checks["plugin poor"].state == "missing"
    assert checks["executors"].remedy == "no plugin for it is loaded: see `genie plugins`"
    assert "genie serve tcp://127.0.0.1:9" in checks["remote_accelerator:0"].remedy
    assert run("doctor").exit_code == 1


def test_doctor_survives_bad_settings_and_a_broken_extension(use, monkeypatch):
    use(Hooks(plugins=PLUGINS))
    monkeypatch.setenv("GENIE_DEVICES", "nonsense")
    monkeypatch.setitem(sys.modules, "genie_core._native", None)
    checks = {check.name: check for check in doctor.examine()}
    assert "GENIE_DEVICES='nonsense'" in checks["devices"].remedy
    assert checks["extension"].remedy == doctor.REBUILD


def test_doctor_says_when_nobody_knows_an_address(use, monkeypatch):
    monkeypatch.setenv("GENIE_DEVICES", "pigeon://loft")
    use(Hooks(genie_open_transport=lambda url, settings: None))
    checks = {check.name: check for check in doctor.examine()}
    assert "no loaded plugin" in checks["remote_accelerator:0"].remedy


def test_bench_startup_measures_each_part_in_processes_of_their_own(device, monkeypatch):
    from genie_benchmarks import startup

    monkeypatch.setattr(startup, "PROCESSES", 1)
    rows = startup.run()
    assert [row["part"] for row in rows] == list(startup._PARTS)
    assert all(row["ms"] > 0 for row in rows)
