"""Every error that Genie raises on purpose: few, typed, and each says what to do next."""

from __future__ import annotations

import attrs


class GenieError(RuntimeError):
    """Base of all of Genie's own errors; catching it catches nothing of PyTorch's."""


@attrs.define(slots=False, eq=False)
class SettingsError(GenieError):
    """An environment variable holds something that Genie cannot use."""

    variable: str
    value: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.variable}={self.value!r} is not valid: {self.allowed}"


@attrs.define(slots=False, eq=False)
class PluginError(GenieError):
    """A plugin cannot be loaded, or one of its hooks raised (`__cause__` is what it raised)."""

    plugin: str
    hook: str
    reason: str

    def __str__(self) -> str:
        where = f" in hook {self.hook}" if self.hook else ""
        return (
            f"plugin {self.plugin!r} failed{where}: {self.reason}. "
            f"Run `genie plugins` for its state, or leave it out with "
            f"GENIE_BLOCK_PLUGINS={self.plugin}"
        )


@attrs.define(slots=False, eq=False)
class OpRaised(GenieError):
    """A hook ran the user's op and the op itself raised: the caller gets `error` as it is.

    A plugin raises this around an exception that eager PyTorch would have raised too (a wrong
    shape, an index out of range), so that it is not taken for a fault of the plugin.
    """

    error: Exception

    def __str__(self) -> str:
        return f"{type(self.error).__name__}: {self.error}"


@attrs.define(slots=False, eq=False)
class ConnectionFailed(GenieError):
    """No executor can be reached at `url`."""

    url: str
    reason: str = ""

    def __str__(self) -> str:
        return (
            f"cannot reach an executor at {self.url}{_because(self.reason)}. "
            f"Start one there with `genie serve {self.url}`, or correct GENIE_DEVICES"
        )


@attrs.define(slots=False, eq=False)
class ConnectionLost(GenieError):
    """The executor at `url` was connected and is gone, with all values that it held."""

    url: str
    reason: str = ""

    def __str__(self) -> str:
        return (
            f"the connection to {self.url} is lost{_because(self.reason)}. The tensors it held "
            f"are gone: see the executor's log, start it again, and rerun the script"
        )


@attrs.define(slots=False, eq=False)
class ProtocolError(GenieError):
    """The peer sent what no Genie of this version sends, or speaks another version."""

    reason: str
    url: str = ""

    def __str__(self) -> str:
        where = f" from {self.url}" if self.url else ""
        return (
            f"protocol error{where}: {self.reason}. Check that the peer is a Genie executor "
            f"with the same versions of genie-remote and torch"
        )


@attrs.define(slots=False, eq=False)
class RemoteError(GenieError):
    """An op failed on the executor: raised where a value that depends on it is read."""

    op: str
    message: str
    where: str = ""
    endpoint: str = ""

    def __str__(self) -> str:
        executor = f" on the executor at {self.endpoint}" if self.endpoint else " on the executor"
        at = "" if self.where.startswith("as at ") else "at "
        where = f", first recorded {at}{self.where}" if self.where else ""
        return f"{self.op} failed{executor}{where}: {self.message}"


@attrs.define(slots=False, eq=False)
class CaptureError(GenieError):
    """The device cannot record this call."""

    op: str
    reason: str

    def __str__(self) -> str:
        return f"{self.op} cannot run on remote_accelerator: {self.reason}"


def _because(reason: str) -> str:
    return f" ({reason})" if reason else ""
