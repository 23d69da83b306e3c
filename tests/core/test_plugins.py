"""Plugins come from real distributions: folders with metadata, put on `sys.path`."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import attrs
import pytest
from stevedore import ExtensionManager

from genie_core import plugins
from genie_core.errors import ConnectionFailed, PluginError
from genie_core.plugins import PluginManager
from genie_core.settings import Settings
from genie_core.values import TensorSpec
from genie_plugins.doctor.listing import listing

HEADER = "from genie_core.hookspecs import hookimpl\n"
CALL = object()  # hooks pass on what they get


@attrs.define
class Shelf:
    """Where tests put distributions."""

    path: object
    monkeypatch: pytest.MonkeyPatch

    def add(self, dist, entries, modules, version="1.0"):
        """Install `dist`: `entries` are plugin names to modules, `modules` names to source."""
        root = self.path / dist
        info = root / f"{dist}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        lines = [f"{name} = {module}" for name, module in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[genie.plugins]", *lines, ""]))
        for module, source in modules.items():
            (root / f"{module}.py").write_text(HEADER + textwrap.dedent(source))
        self.monkeypatch.syspath_prepend(str(root))
        ExtensionManager.ENTRY_POINT_CACHE.clear()


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    before = set(sys.modules)
    yield Shelf(tmp_path, monkeypatch)
    ExtensionManager.ENTRY_POINT_CACHE.clear()
    for name in set(sys.modules) - before:
        if name.startswith("plug_"):
            del sys.modules[name]


def load(*names, **settings):
    manager = PluginManager()
    manager.load(Settings(plugins=names, **settings))
    return manager


def rows(manager):
    return {(row.name, row.dist): row for row in listing(manager) if row.state != "blocked"}


def row(manager, name):
    (found,) = [row for row in listing(manager) if row.name == name]
    return found


GOOD = """
@hookimpl
def genie_infer_outputs(call):
    return ["good"]
"""


def test_a_plugin_is_loaded_called_and_described(shelf):
    shelf.add("good-dist", {"good": "plug_good"}, {"plug_good": GOOD}, version="2.5")
    manager = load("good")
    assert manager.hook.genie_infer_outputs(call=CALL) == ["good"]
    found = row(manager, "good")
    assert (found.dist, found.version, found.state) == ("good-dist", "2.5", "loaded")
    assert found.hooks == ("genie_infer_outputs",)
    assert found.reason == ""


def test_built_in_plugins_come_through_the_same_door():
    names = {
        "autograd",
        "bench",
        "control_flow",
        "certs",
        "demo",
        "churn",
        "dynamo",
        "device_api",
        "doctor",
        "executor",
        "explain",
        "fallback",
        "passes",
        "patterns",
        "semantics",
        "shape_inference",
    }
    names |= {"transport_inproc", "transport_tcp"}
    manager = PluginManager()
    manager.load(Settings())
    found = {row.name: row for row in listing(manager) if row.dist == "genie-remote"}
    assert set(found) == names
    assert {row.state for row in found.values()} == {"loaded"}


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named"),
        ("assert False, 'not today'", "AssertionError: not today"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "it has no hooks; mark its functions @genie_core.hookimpl"),
        (
            "@hookimpl\ndef genie_infer_output(call): ...",
            "genie_infer_output: unknown hook (did you mean genie_infer_outputs?)",
        ),
        ("@hookimpl\ndef genie_zzz(): ...", "unknown hook (the hooks are genie_infer_outputs"),
        ("@hookimpl\ndef genie_infer_outputs(call, shape): ...", "shape"),
    ],
)
def test_a_broken_plugin_is_a_row_and_an_event_and_the_others_work(shelf, capsys, source, reason):
    shelf.add("bad-dist", {"bad": "plug_bad"}, {"plug_bad": source})
    shelf.add("good-dist", {"good": "plug_good"}, {"plug_good": GOOD})
    manager = load("bad", "good")
    assert manager.hook.genie_infer_outputs(call=CALL) == ["good"]
    found = row(manager, "bad")
    assert found.state == "failed"
    assert found.hooks == ()
    assert reason in found.reason
    event = capsys.readouterr().err
    assert "plugin.failed" in event
    assert "bad" in event


def test_a_missing_attribute_of_a_module_is_a_row(shelf):
    shelf.add("bad-dist", {"bad": "plug_bad:nothing"}, {"plug_bad": ""})
    assert "AttributeError" in row(load("bad"), "bad").reason


@pytest.mark.parametrize("hook", ["genie_infer_outputs", "genie_cli"])
def test_a_hook_that_raises_is_named_with_its_plugin(shelf, hook):
    argument = {"genie_infer_outputs": "call", "genie_cli": "cli"}[hook]
    source = f"@hookimpl\ndef {hook}({argument}):\n    return 1 / 0\n"
    shelf.add("bad-dist", {"bad": "plug_bad"}, {"plug_bad": source})
    idle = f"@hookimpl\ndef {hook}(): return None\n"
    shelf.add("idle-dist", {"idle": "plug_idle"}, {"plug_idle": idle})
    manager = load("bad", "idle")
    with pytest.raises(PluginError, match=f"plugin 'bad' failed in hook {hook}.*division") as info:
        getattr(manager.hook, hook)(**{argument: CALL})
    assert isinstance(info.value.__cause__, ZeroDivisionError)
    assert "GENIE_BLOCK_PLUGINS=bad" in str(info.value)


def test_errors_of_genie_pass_a_hook_as_they_are(shelf):
    source = """
    from genie_core.errors import ConnectionFailed
    @hookimpl
    def genie_open_transport(url):
        raise ConnectionFailed(url, "nobody listens")
    """
    shelf.add("wire-dist", {"wire": "plug_wire"}, {"plug_wire": source})
    with pytest.raises(ConnectionFailed, match="nobody listens"):
        load("wire").hook.genie_open_transport(url="x://y", settings=Settings())


def test_an_error_of_the_users_op_reaches_the_user_as_it_is(shelf):
    source = """
    from genie_core.errors import OpRaised
    @hookimpl
    def genie_infer_outputs(call):
        raise OpRaised(IndexError("out of range"))
    """
    shelf.add("shapes-dist", {"shapes": "plug_shapes"}, {"plug_shapes": source})
    with pytest.raises(IndexError, match="out of range"):
        load("shapes").hook.genie_infer_outputs(call=CALL)


def test_the_second_of_two_plugins_with_one_name_is_refused(shelf, capsys):
    other = GOOD.replace("good", "other")
    shelf.add("second-dist", {"same": "plug_second"}, {"plug_second": other}, version="9")
    shelf.add("first-dist", {"same": "plug_first"}, {"plug_first": GOOD})
    manager = load("same")
    assert manager.hook.genie_infer_outputs(call=CALL) == ["good"]
    found = rows(manager)
    assert found["same", "first-dist"].state == "loaded"
    refused = found["same", "second-dist"]
    assert refused.state == "duplicate"
    assert "first-dist 1.0 (plug_first) is used" in refused.reason
    assert "second-dist 9 (plug_second) is refused" in refused.reason
    assert "plug_second" not in sys.modules
    assert "plugin.duplicate" in capsys.readouterr().err


def test_block_list_and_allow_list_keep_plugins_from_being_imported(shelf):
    shelf.add("a-dist", {"a": "plug_a", "b": "plug_b"}, {"plug_a": GOOD, "plug_b": GOOD})
    manager = load("a", block_plugins=("a",))
    assert row(manager, "a").reason == "named in GENIE_BLOCK_PLUGINS"
    assert row(manager, "b").reason == "not named in GENIE_PLUGINS"
    assert {row(manager, name).state for name in "ab"} == {"blocked"}
    assert not {"plug_a", "plug_b"} & set(sys.modules)


def test_an_allowed_plugin_that_is_not_installed_is_shown(capsys):
    manager = load("no_such_plugin")
    assert row(manager, "no_such_plugin").state == "missing"
    assert "no_such_plugin" in capsys.readouterr().err


def test_hooks_run_in_the_order_of_names_reversed_and_first_result_wins(shelf):
    """pluggy asks the last registered first; `tryfirst` is how a plugin comes before others."""
    sources = {
        "plug_a": GOOD.replace("good", "a").replace("@hookimpl", "@hookimpl(tryfirst=True)"),
        "plug_b": GOOD.replace("good", "b"),
        "plug_c": GOOD.replace('["good"]', "None"),
    }
    shelf.add("abc-dist", {"c": "plug_c", "a": "plug_a", "b": "plug_b"}, sources)
    assert load("a", "b", "c").hook.genie_infer_outputs(call=CALL) == ["a"]
    assert load("b", "c").hook.genie_infer_outputs(call=CALL) == ["b"]
    assert load("c").hook.genie_infer_outputs(call=CALL) is None


def test_a_hook_of_each_plugin_is_called_by_itself(shelf):
    sources = {
        "plug_a": "@hookimpl\ndef genie_cli(cli): cli.append('a')",
        "plug_b": "@hookimpl(tryfirst=True)\ndef genie_cli(cli): raise ValueError('no')",
        "plug_c": "@hookimpl\ndef genie_cli(cli): cli.append('c')",
    }
    shelf.add("abc-dist", {"a": "plug_a", "b": "plug_b", "c": "plug_c"}, sources)
    called = []
    (failure,) = load("a", "b", "c").call_each("genie_cli", cli=called)
    assert called == ["a", "c"]
    assert isinstance(failure, PluginError)
    assert "plugin 'b' failed in hook genie_cli" in str(failure)


def test_tracing_logs_each_hook_call(shelf, capsys):
    shelf.add("good-dist", {"good": "plug_good"}, {"plug_good": GOOD})
    bad = "@hookimpl\ndef genie_cli(cli): raise ValueError('no')"
    shelf.add("bad-dist", {"bad": "plug_bad"}, {"plug_bad": bad})
    manager = load("good", "bad", trace_hooks=True)
    manager.hook.genie_infer_outputs(call=CALL)
    with pytest.raises(PluginError):
        manager.hook.genie_cli(cli=None)
    lines = [line for line in capsys.readouterr().err.splitlines() if "hook.call" in line]
    inferred, failed = lines[-2:]
    for part in ("genie_infer_outputs", "good", "ms="):
        assert part in inferred
    assert "raised PluginError" in failed


def test_the_manager_is_one_for_a_process_and_a_plugin_may_ask_for_it(shelf, monkeypatch):
    source = """
    from genie_core import plugins
    seen = plugins.manager()
    @hookimpl
    def genie_cli(): ...
    """
    shelf.add("self-dist", {"self": "plug_self"}, {"plug_self": source})
    monkeypatch.setenv("GENIE_PLUGINS", "self")
    monkeypatch.setattr(plugins, "_manager", None)
    assert plugins.manager() is plugins.manager()
    assert sys.modules["plug_self"].seen is plugins.manager()


def test_specs_and_values_cross_hooks_unchanged():
    spec = TensorSpec(dtype="float32", size=(2,), stride=(1,))
    assert (spec.offset, spec.alias) == (0, -1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        spec.offset = 1


def test_every_hook_says_when_it_is_called_and_what_it_raises():
    from genie_core import hookspecs

    hooks = {name: f for name, f in vars(hookspecs).items() if name.startswith("genie_")}
    for name, hook in hooks.items():
        text = hook.__doc__
        assert "When:" in text, name
        assert "Errors:" in text, name
        for argument in hook.__code__.co_varnames[: hook.__code__.co_argcount]:
            assert f"\n    {argument}: " in text or argument == "settings", (name, argument)


def test_every_hook_has_a_built_in_user():
    from genie_core import hookspecs

    manager = PluginManager()
    manager.load(Settings())
    used = {hook for row in listing(manager) if row.dist == "genie-remote" for hook in row.hooks}
    assert used == {name for name in vars(hookspecs) if name.startswith("genie_")}


def test_importing_the_core_imports_neither_plugins_nor_their_machinery():
    code = (
        "import sys, genie_core; "
        "print([m for m in ('stevedore', 'pluggy', 'structlog', 'rich', 'genie_plugins') "
        "if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
