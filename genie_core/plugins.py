"""stevedore finds plugins, pluggy calls them; this is the only place that knows both.

A broken plugin is an event and a row of `genie plugins`, never a crash.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs
import pluggy
from stevedore import NamedExtensionManager

from genie_core import hookspecs
from genie_core.errors import DuplicatePluginError, GenieError, OpRaised, PluginError
from genie_core.log import get_logger
from genie_core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.metadata import Distribution, EntryPoint

_log = get_logger("plugins")

State: TypeAlias = Literal["loaded", "blocked", "failed", "duplicate", "missing"]
Hooks: TypeAlias = "Sequence[pluggy.HookImpl]"
_Dists: TypeAlias = "dict[tuple[str, str], Distribution]"


@attrs.frozen
class PluginStatus:
    """One plugin as `genie plugins` shows it; `reason` says why it is not loaded."""

    name: str
    version: str
    dist: str
    hooks: tuple[str, ...]
    state: State
    reason: str = ""


@attrs.define
class _Entry:
    """An entry point that was found, and what became of it."""

    point: EntryPoint
    state: State = "loaded"
    reason: str = ""
    plugin: object = None


class PluginManager:
    """Loads the plugins that the settings allow and calls their hooks: `manager.hook.genie_…`.

    A hook that raises gives a `PluginError`; Genie's own errors pass, `OpRaised` is unwrapped.
    """

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._missing: list[str] = []
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        self._pluggy.add_hookcall_monitoring(_before_call, _after_call)

    @property
    def hook(self) -> Any:
        """The hooks, by name; each takes keyword arguments only."""
        return self._pluggy.hook

    def load(self, settings: Settings) -> None:
        """Find, import and register plugins, in the order of their names.

        Raises nothing for a plugin's fault; `status()` has what failed.
        """
        if settings.trace_hooks:
            _Trace().attach(self._pluggy)
        points = sorted(_find(), key=lambda point: point.name)
        self._entries = [_Entry(point) for point in points]
        for entry in self._entries:
            self._load(entry, settings)
        self._note_missing(settings)

    def call_each(self, hook: str, **arguments: Any) -> list[GenieError]:
        """Call a hook of each plugin by itself, so that one's failure costs the others nothing.

        Genie's own plugins come first. Returns the errors of those that failed.
        """
        failures = []
        for entry in sorted(self._entries, key=_from_elsewhere):
            others = [other for other in self._pluggy.get_plugins() if other is not entry.plugin]
            try:
                self._pluggy.subset_hook_caller(hook, others)(**arguments)
            except GenieError as error:
                failures.append(error)
        return failures

    def status(self) -> list[PluginStatus]:
        """Every plugin found, blocked and broken ones too, sorted by name."""
        dists = _distributions()
        rows = [self._describe(entry, dists) for entry in self._entries]
        why = "named in GENIE_PLUGINS, but not installed"
        rows += [PluginStatus(name, "", "", (), "missing", why) for name in self._missing]
        return sorted(rows, key=lambda row: row.name)

    def _load(self, entry: _Entry, settings: Settings) -> None:
        name = entry.point.name
        blocked = _blocked(name, settings)
        first = self._loaded(name)
        if blocked:
            entry.state, entry.reason = "blocked", blocked
        elif first is not None:
            self._fail(entry, _duplicate(first.point, entry.point), "duplicate")
        else:
            self._register(entry)

    def _register(self, entry: _Entry) -> None:
        name = entry.point.name
        try:
            entry.plugin = entry.point.load()
        except (Exception, SystemExit) as error:  # a plugin may call sys.exit() at import
            self._fail(entry, PluginError(name, "", f"import failed: {_brief(error)}"))
            return
        try:
            self._pluggy.register(entry.plugin, name=name)
            self._check_hooks(entry)
        except (PluginError, pluggy.PluginValidationError, ValueError) as error:
            self._unload(entry, error)

    def _check_hooks(self, entry: _Entry) -> None:
        """Refuse hooks that no spec knows, and plugins without any hook."""
        callers = self._pluggy.get_hookcallers(entry.plugin) or []
        unknown = [caller.name for caller in callers if not caller.has_spec()]
        if unknown:
            raise PluginError(entry.point.name, unknown[0], f"unknown hook ({_meant(unknown[0])})")
        if not callers:
            raise PluginError(
                entry.point.name, "", "it has no hooks; mark its functions @genie_core.hookimpl"
            )
        self._pluggy.check_pending()

    def _unload(self, entry: _Entry, error: Exception) -> None:
        if self._pluggy.has_plugin(entry.point.name):
            self._pluggy.unregister(name=entry.point.name)
        if not isinstance(error, GenieError):
            error = PluginError(entry.point.name, "", _brief(error))
        self._fail(entry, error)

    def _fail(self, entry: _Entry, error: Exception, state: State = "failed") -> None:
        entry.state, entry.reason, entry.plugin = state, str(error), None
        if isinstance(error, PluginError):  # its row names the plugin already
            entry.reason = f"{error.hook}: {error.reason}".removeprefix(": ")
        _log.warning(f"plugin.{state}", plugin=entry.point.name, reason=entry.reason)

    def _note_missing(self, settings: Settings) -> None:
        found = {entry.point.name for entry in self._entries}
        self._missing = [name for name in settings.plugins or () if name not in found]
        for name in self._missing:
            _log.warning("plugin.missing", plugin=name, reason="named in GENIE_PLUGINS")

    def _loaded(self, name: str) -> _Entry | None:
        same = (e for e in self._entries if e.point.name == name and e.plugin is not None)
        return next(same, None)

    def _describe(self, entry: _Entry, dists: _Dists) -> PluginStatus:
        dist = dists.get((entry.point.name, entry.point.value))
        callers = self._pluggy.get_hookcallers(entry.plugin) if entry.plugin else None
        return PluginStatus(
            name=entry.point.name,
            version=dist.version if dist else "",
            dist=dist.name if dist else "",
            hooks=tuple(sorted(caller.name for caller in callers or ())),
            state=entry.state,
            reason=entry.reason,
        )


_lock = threading.RLock()
_manager: PluginManager | None = None
_loading: PluginManager | None = None


def manager() -> PluginManager:
    """Return the process's manager; its first use loads the plugins.

    Raises `SettingsError` for a bad `GENIE_…` variable.
    """
    global _loading, _manager
    if _manager is None:
        with _lock:
            if _loading is not None:  # a plugin asks, in this thread, while it is being loaded
                return _loading
            if _manager is None:
                settings = Settings.from_env()
                _loading = PluginManager()
                try:
                    _loading.load(settings)
                    _manager = _loading
                finally:
                    _loading = None
    return _manager


def _find() -> list[EntryPoint]:
    """All entry points of the group, in the order of `sys.path`, nothing imported yet.

    stevedore's own loading would import blocked plugins too, and lets an AssertionError out.
    """
    finder: NamedExtensionManager[object] = NamedExtensionManager(hookspecs.GROUP, names=[])
    return list(finder.list_entry_points())


def _from_elsewhere(entry: _Entry) -> bool:
    return not entry.point.value.startswith("genie_plugins.")


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


def _distributions() -> _Dists:
    """Which distribution declares each entry point; stevedore's cache does not keep that."""
    found: _Dists = {}
    for dist in importlib.metadata.distributions():
        for point in dist.entry_points:
            if point.group == hookspecs.GROUP:
                found.setdefault((point.name, point.value), dist)
    return found


def _duplicate(kept: EntryPoint, refused: EntryPoint) -> DuplicatePluginError:
    dists = _distributions()

    def label(point: EntryPoint) -> str:
        dist = dists.get((point.name, point.value))
        return f"{dist.name} {dist.version} ({point.value})" if dist else point.value

    return DuplicatePluginError(kept.name, label(kept), label(refused))


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ")


# --- what happens around each hook call ------------------------------------------------------


def _before_call(_hook: str, _impls: Hooks, _kwargs: Mapping[str, Any]) -> None:
    """Nothing to do before; pluggy wants the pair."""


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
    names = {_code(impl.function): impl.plugin_name for impl in impls}
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code in names:
            return names[trace.tb_frame.f_code]
        trace = trace.tb_next
    return ", ".join(impl.plugin_name for impl in impls)


def _code(function: Any) -> Any:
    return getattr(function, "__code__", None)


class _Trace:
    """Logs each hook call: hook, plugins asked, what came back, milliseconds."""

    def __init__(self) -> None:
        self._local = threading.local()

    def attach(self, target: pluggy.PluginManager) -> None:
        target.add_hookcall_monitoring(self._before, self._after)

    def _before(self, _hook: str, _impls: Hooks, _kwargs: Mapping[str, Any]) -> None:
        self._starts().append(time.perf_counter())

    def _after(
        self, outcome: pluggy.Result[Any], hook: str, impls: Hooks, _kwargs: Mapping[str, Any]
    ) -> None:
        ms = (time.perf_counter() - self._starts().pop()) * 1e3
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

    def _starts(self) -> list[float]:
        starts: list[float] = self._local.__dict__.setdefault("starts", [])
        return starts
