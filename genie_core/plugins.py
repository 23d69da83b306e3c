"""stevedore finds plugins, pluggy calls them; this is the only place that knows both.

A broken plugin is an event and a row of `genie plugins`, never a crash.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import pluggy
from stevedore import NamedExtensionManager

from genie_core import hookspecs
from genie_core.errors import GenieError, OpRaised, PluginError
from genie_core.log import get_logger
from genie_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.metadata import Distribution, EntryPoint

_log = get_logger("plugins")

State: TypeAlias = Literal["loaded", "blocked", "failed", "duplicate", "missing"]
Hooks: TypeAlias = "Sequence[pluggy.HookImpl]"


@attrs.define
class Plugin:
    """An entry point that was found, and what became of it; `reason` says why it is not loaded."""

    name: str
    module: str
    state: State = "loaded"
    reason: str = ""
    hooks: tuple[str, ...] = ()


class PluginManager:
    """Loads the plugins that the settings allow and calls their hooks: `manager.hook.genie_…`.

    A hook that raises gives a `PluginError`; Genie's own errors pass, `OpRaised` is unwrapped.
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        """Every plugin found, blocked and broken ones too, and those asked for but not there."""
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._pluggy.add_hookcall_monitoring(lambda *_: None, _after_call)  # it wants the pair

    @property
    def hook(self) -> Any:
        """The hooks, by name; each takes keyword arguments only."""
        return self._pluggy.hook

    def load(self, settings: Settings) -> None:
        """Find, import and register plugins, in the order of their names.

        Raises nothing for a plugin's fault; `plugins` has what failed.
        """
        if settings.trace_hooks:
            trace = _Trace()
            self._pluggy.add_hookcall_monitoring(trace.before, trace.after)
        for point in sorted(_find(), key=lambda point: point.name):
            self.plugins.append(self._load(point, settings))
        found = {plugin.name for plugin in self.plugins}
        for name in settings.plugins or ():
            if name not in found:
                why = "named in GENIE_PLUGINS, but not installed"
                self.plugins.append(_not_loaded(name, "", "missing", why))

    def call_each(self, hook: str, **arguments: Any) -> list[GenieError]:
        """Call a hook of each plugin by itself, so that one's failure costs the others nothing.

        Genie's own plugins come first; of them and of the others, `trylast` ones come last.
        Returns the errors of those that failed.
        """
        failures = []
        loaded = [plugin for plugin in self.plugins if plugin.state == "loaded"]
        late = {i.plugin_name for i in getattr(self.hook, hook).get_hookimpls() if i.trylast}
        loaded.sort(key=lambda p: (not p.module.startswith("genie_plugins."), p.name in late))
        for plugin in loaded:
            own = self._pluggy.get_plugin(plugin.name)
            others = [other for other in self._pluggy.get_plugins() if other is not own]
            try:
                self._pluggy.subset_hook_caller(hook, others)(**arguments)
            except GenieError as error:
                failures.append(error)
        return failures

    def _load(self, point: EntryPoint, settings: Settings) -> Plugin:
        name, module = point.name, point.value
        if blocked := _blocked(name, settings):
            return Plugin(name, module, "blocked", blocked)
        for other in self.plugins:
            if other.name == name and other.state == "loaded":
                why = _twins(name, other.module, module)
                return _not_loaded(name, module, "duplicate", why)
        try:
            return Plugin(name, module, hooks=self._register(point))
        except PluginError as error:  # its row names the plugin already
            why = f"{error.hook}: {error.reason}".removeprefix(": ")
            return _not_loaded(name, module, "failed", why)

    def _register(self, point: EntryPoint) -> tuple[str, ...]:
        """Import and register a plugin, and return its hooks. Raises `PluginError`."""
        try:
            plugin = point.load()
        except (Exception, SystemExit) as error:  # a plugin may call sys.exit() at import
            raise PluginError(point.name, "", f"import failed: {_brief(error)}") from error
        try:
            self._pluggy.register(plugin, name=point.name)
            return self._hooks(point.name)
        except (PluginError, pluggy.PluginValidationError, ValueError) as error:
            if self._pluggy.has_plugin(point.name):
                self._pluggy.unregister(name=point.name)
            if isinstance(error, PluginError):
                raise
            raise PluginError(point.name, "", _brief(error)) from error

    def _hooks(self, name: str) -> tuple[str, ...]:
        """A plugin's hooks. Raises `PluginError` where it has none, or one that no spec knows."""
        callers = self._pluggy.get_hookcallers(self._pluggy.get_plugin(name)) or []
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        if unknown:
            raise PluginError(name, unknown[0], f"unknown hook ({_meant(unknown[0])})")
        if not callers:
            raise PluginError(name, "", "it has no hooks; mark its functions @genie_core.hookimpl")
        self._pluggy.check_pending()
        return tuple(sorted(caller.name for caller in callers))


_lock = threading.RLock()
_manager: PluginManager | None = None


def manager() -> PluginManager:
    """Return the process's manager; its first use loads the plugins.

    Raises `SettingsError` for a bad `GENIE_…` variable.
    """
    global _manager
    with _lock:
        if _manager is None:
            settings = Settings.from_env()
            _manager = PluginManager()  # before it loads: a plugin may ask for it meanwhile
            try:
                _manager.load(settings)
            except BaseException:
                _manager = None
                raise
        return _manager


def distributions() -> dict[tuple[str, str], Distribution]:
    """Which distribution declares each entry point (name, module); stevedore does not keep that."""
    found: dict[tuple[str, str], Distribution] = {}
    for dist in importlib.metadata.distributions():
        for point in dist.entry_points:
            if point.group == hookspecs.GROUP:
                found.setdefault((point.name, point.value), dist)
    return found


def _find() -> list[EntryPoint]:
    """All entry points of the group, in the order of `sys.path`, nothing imported yet.

    stevedore's own loading would import blocked plugins too, and lets an AssertionError out.
    """
    finder: NamedExtensionManager[object] = NamedExtensionManager(hookspecs.GROUP, names=[])
    return list(finder.list_entry_points())


def _blocked(name: str, settings: Settings) -> str:
    if name in settings.block_plugins:
        return "named in GENIE_BLOCK_PLUGINS"
    if settings.plugins is not None and name not in settings.plugins:
        return "not named in GENIE_PLUGINS"
    return ""


def _meant(hook: str) -> str:
    known = [name for name in vars(hookspecs) if name.startswith("genie_")]
    close = difflib.get_close_matches(hook, known, n=1, cutoff=0.8)
    return f"did you mean {close[0]}?" if close else f"the hooks are {', '.join(known)}"


def _not_loaded(name: str, module: str, state: State, reason: str) -> Plugin:
    _log.warning(f"plugin.{state}", plugin=name, reason=reason)
    return Plugin(name, module, state, reason)


def _twins(name: str, kept: str, refused: str) -> str:
    dists = distributions()

    def label(module: str) -> str:
        dist = dists.get((name, module))
        return f"{dist.name} {dist.version} ({module})" if dist else module

    return (
        f"two plugins are named {name!r}: the one of {label(kept)} is used, the one of "
        f"{label(refused)} is refused. Uninstall one of them, or rename its entry point"
    )


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")


# --- what happens around each hook call ------------------------------------------------------


def _after_call(
    outcome: pluggy.Result[Any], hook: str, impls: Hooks, _kwargs: Mapping[str, Any]
) -> None:
    """Give the caller an error that names the plugin, whatever its hook raised."""
    error = outcome.exception
    if isinstance(error, OpRaised):
        outcome.force_exception(error.error)
    elif isinstance(error, Exception) and not isinstance(error, GenieError):
        wrapped = PluginError(_culprit(error, impls), hook, _brief(error))
        wrapped.__cause__ = error
        outcome.force_exception(wrapped)


def _culprit(error: Exception, impls: Hooks) -> str:
    """The plugin whose hook function is on the error's traceback."""
    names = {getattr(impl.function, "__code__", None): impl.plugin_name for impl in impls}
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if frame.f_code in names:
            return names[frame.f_code]
    return ", ".join(impl.plugin_name for impl in impls)


class _Trace(threading.local):
    """Logs each hook call: hook, plugins asked, what came back, milliseconds."""

    def __init__(self) -> None:
        self._starts: list[float] = []  # hooks may call hooks

    def before(self, _hook: str, _impls: Hooks, _kwargs: Mapping[str, Any]) -> None:
        self._starts.append(time.perf_counter())

    def after(
        self, outcome: pluggy.Result[Any], hook: str, impls: Hooks, _kwargs: Mapping[str, Any]
    ) -> None:
        ms = (time.perf_counter() - self._starts.pop()) * 1e3
        error = outcome.exception
        result = f"raised {_brief(error)}" if error else repr(outcome.get_result())
        # Asked for by name, so it shows at the default level.
        _log.warning(
            "hook.call",
            hook=hook,
            plugins=[impl.plugin_name for impl in reversed(impls)],
            result=result[:200],
            ms=round(ms, 3),
        )
