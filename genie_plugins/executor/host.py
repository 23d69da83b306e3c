"""The executor: any number of clients, each in a session and with a value store of its own."""

from __future__ import annotations

import itertools
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from genie_core.errors import ConnectionLost, ProtocolError
from genie_core.log import get_logger
from genie_plugins.executor.native import Native, NativeReplay
from genie_plugins.executor.session import ClientSession

if TYPE_CHECKING:
    from genie_core.contracts import Channel

MAX_SESSIONS = 256
_log = get_logger("executor")


class ExecutorHost:
    """Serves clients on one torch `device`, at most `max_sessions` at once.

    Sessions share nothing but the device: a value's name means something in its own session only.
    `inductor`: hot programs are compiled, and compared with their replay before they are used.
    """

    def __init__(
        self,
        device: str,
        native: Native | None = None,
        max_sessions: int = MAX_SESSIONS,
        inductor: bool = False,
    ) -> None:
        self.device = device
        self.inductor = inductor
        self._native = native or NativeReplay()
        self._max_sessions = max_sessions
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._channels: set[Channel] = set()

    def serve(self, channel: Channel) -> None:
        """Serve one client until it leaves, breaks the protocol, or the host is closed."""
        number = next(self._numbers)
        session = ClientSession(self, channel, number)
        with self._lock:
            full = len(self._channels) >= self._max_sessions
            self._channels.add(channel)
        try:
            if full:
                session.refuse(f"the executor serves {self._max_sessions} clients already")
            else:
                self._serve(session, channel, number)
        finally:
            with self._lock:
                self._channels.discard(channel)
            channel.close()

    def close(self) -> None:
        """End every session. Idempotent."""
        with self._lock:
            channels = list(self._channels)
        for channel in channels:
            channel.close()

    @property
    def native(self) -> Native:
        """Where stores come from."""
        return self._native

    @cached_property
    def lacks(self) -> list[str]:
        """The aten ops that this device has no kernel for; found once."""
        return self._native.lacking_ops(self.device)

    def _serve(self, session: ClientSession, channel: Channel, number: int) -> None:
        _log.info("session.opened", session=number, client=channel.url, device=self.device)
        reason = "failed"
        try:
            session.run()
            reason = "bye"
        except ConnectionLost as error:
            reason = error.reason or "connection lost"
        except ProtocolError as error:
            reason = str(error)
            _log.warning("session.refused", session=number, client=channel.url, reason=reason)
        finally:
            _log.info("session.closed", session=number, reason=reason, **session.counts())
