"""The Python side of the recorder: first sights, flushes and their reasons, reads.

The native core calls the one :data:`dispatcher` of the process; never per op in steady state.
Imported with torch, so it imports nothing heavy at its top.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

from genie_core import _native
from genie_core.origin import origins, place_of

if TYPE_CHECKING:
    from genie_core.session import Session
    from genie_core.values import Stats

REASONS = ("read", "sync", "size", "unknown_shape")
"""Why a trace is flushed, by the native core's numbers."""


class Dispatcher:
    """Opens a session for each device at its first use, and answers the native core."""

    def __init__(self) -> None:
        self._sessions: dict[int, Session] = {}
        self._urls: list[str] = []
        self._lock = threading.RLock()

    # Devices ---------------------------------------------------------------------------------

    def count_devices(self) -> None:
        """Read how many devices there are, without opening any."""
        text = os.environ.get("GENIE_DEVICES", "")
        self._urls = [part.strip() for part in text.split(",") if part.strip()]
        _native.set_device_count(max(len(self._urls), 1))

    def connect(self, url: str) -> int:
        """Open a session to `url` and return the index of its device."""
        with self._lock:
            embedded = not self._urls and not self._sessions
            before = _native.device_count()
            index = 0 if embedded else before
            _native.set_device_count(index + 1)  # refuses more than there may be
            try:
                self._sessions[index] = self._open(index, url)
            except BaseException:
                _native.set_device_count(before)
                raise
            self._urls = [*(self._urls or ["inproc://"] * index), url]
            return index

    def forked(self) -> None:
        """Refuse use in a fork's child, which has no session's thread or connection."""
        if self._sessions:
            _native.refuse_after_fork()

    def session(self, device: int) -> Session:
        """The session of a device; opened at the device's first use."""
        found = self._sessions.get(device)
        if found is not None:
            return found
        with self._lock:
            if device not in self._sessions:
                self._sessions[device] = self._open(device, self._url(device))
            return self._sessions[device]

    def _url(self, device: int) -> str:
        from genie_core.settings import Settings

        return Settings.from_env().devices[device] if not self._urls else self._urls[device]

    def _open(self, device: int, url: str) -> Session:
        from genie_core.plugins import manager
        from genie_core.session import Session

        session = Session.open(device, url, manager())
        _native.set_executor_type(device, session.executor_device)
        return session

    def close(self) -> None:
        """Say goodbye to every executor; for the end of the process."""
        with self._lock:
            sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.close()

    # What the native core asks ---------------------------------------------------------------

    def infer(self, call: _native.OpCall, device: int) -> Any:
        """Outputs of a signature seen for the first time.

        None asks the executor, False runs the op by the fallback.
        """
        session = self.session(device)
        if not session.supports(call.name):
            return False
        return session.hook.genie_infer_outputs(call=call)

    def flush(self, device: int, reason: int) -> bytes | None:
        """Send what was recorded; for an unknown shape, return the last op's outputs."""
        return self.session(device).flush(REASONS[reason])

    def read(self, device: int, *view: Any) -> None:
        """Fetch a view of a value: the fields of `protocol.Read`, then the buffer to fill."""
        from genie_core.protocol import Read

        *fields, target = view
        self.session(device).read(Read(*fields), target)

    def put(self, device: int, value: int, data: memoryview) -> None:
        """Send bytes as a new value."""
        self.session(device).put(value, data)

    def synchronize(self, device: int) -> None:
        """Flush and wait."""
        if device in self._sessions:
            self._sessions[device].synchronize()

    def memory_info(self, device: int) -> tuple[int, int]:
        """Free and total bytes of the executor's device."""
        return self.session(device).memory(release=False)

    def release_memory(self) -> None:
        """Have every executor give back memory that nothing uses; one that is gone holds none."""
        from genie_core.errors import ConnectionLost

        for session in self._sessions.values():
            with contextlib.suppress(ConnectionLost):
                session.memory(release=True)

    def fallback(
        self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], device: int
    ) -> Any:
        """Run an op that the executor lacks by the `genie_fallback` hook."""
        from genie_core.errors import CaptureError
        from genie_core.graph import operator
        from genie_core.values import FallbackCall

        session = self.session(device)
        reason = f"the executor at {session.url} has no kernel for it"
        where = str(self._where())
        call = FallbackCall(operator(name), args, kwargs, str(device), reason, where)
        result = session.hook.genie_fallback(call=call)
        if result is None:
            raise CaptureError(name, reason)
        return result[0]

    def origin(self) -> int:
        """Number of what the calling thread's Python is doing; asked on new ground only."""
        return origins.number(self._where())

    def _where(self) -> Any:
        frame = sys._getframe(1)
        sessions = list(self._sessions.values())  # none yet: no plugin is loaded for this alone
        told = sessions[0].hook.genie_origin(frame=frame) if sessions else None
        return told or place_of(frame)

    # Statistics ------------------------------------------------------------------------------

    def stats(self, device: int) -> Stats:
        """Counters of the native core and of the session together."""
        from genie_core.values import Stats

        session = self._sessions.get(device)
        return Stats(**_native.counters(device), **(session.counters() if session else {}))

    def reset_stats(self, device: int) -> None:
        """Start counting anew."""
        _native.reset_counters(device)
        if device in self._sessions:
            self._sessions[device].reset_counters()


dispatcher = Dispatcher()
