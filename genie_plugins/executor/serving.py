"""The far side's loop: accept clients, serve each from a thread of its own, end gracefully.

Knows contracts only: which transport and which executor is the plugins' affair.
"""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING

from genie_core.errors import ConnectionLost, GenieError, SettingsError
from genie_core.log import get_logger
from genie_core.plugins import manager
from genie_plugins.executor import memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from genie_core.contracts import Channel, Executor, Listener
    from genie_core.settings import Settings

_log = get_logger("serve")


def open_listener(url: str, settings: Settings) -> Listener:
    """Bind `url` through whichever plugin knows its scheme; raises `SettingsError` if none."""
    listener: Listener | None = manager().hook.genie_open_listener(url=url, settings=settings)
    if listener is None:
        raise SettingsError("URL", url, "no loaded plugin listens there; see `genie plugins`")
    return listener


def make_executor(device: str, settings: Settings) -> Executor:
    """Make an executor for `device` ("" is the best there is); raises `SettingsError`."""
    executor: Executor | None = manager().hook.genie_make_executor(device=device, settings=settings)
    if executor is None:
        raise SettingsError("--device", device, "no loaded plugin runs it; see `genie plugins`")
    return executor


class Server:
    """Serves the clients of one listener until `stop()`.

    After that no client is accepted, those connected may go on for `grace` seconds, and then
    their channels are closed. `threads` bounds each client's compute threads, 0 is torch's own
    choice.
    """

    def __init__(
        self, listener: Listener, executor: Executor, *, grace: float = 5.0, threads: int = 0
    ) -> None:
        self._listener = listener
        self._executor = executor
        self._grace = grace
        self._threads = threads
        self._stopping = False
        self._stops: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put() suits signals
        self._lock = threading.Lock()
        self._clients: dict[threading.Thread, Channel] = {}

    def run(self) -> None:
        """Accept and serve; returns after `stop()`, or if the listener fails."""
        accepting = threading.Thread(target=self._accept, name="genie-accept", daemon=True)
        accepting.start()
        try:
            self._wait()
        finally:
            self._listener.close()
            self._drain()
            self._executor.close()

    def stop(self) -> None:
        """Begin to end; safe in a signal handler. A second call ends the grace period."""
        self._stopping = True
        self._stops.put(None)

    def _wait(self) -> None:
        # In steps: the handler of a signal that comes just before a wait runs after it only.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._stops.get(timeout=0.5)

    def _accept(self) -> None:
        with contextlib.suppress(ConnectionLost):
            while not self._stopping:
                try:
                    channel = self._listener.accept()
                except ConnectionLost:
                    raise
                except (GenieError, OSError) as error:  # one client's handshake, not ours
                    _log.warning("client.refused", reason=str(error))
                    time.sleep(0.05)
                else:
                    self._start(channel)
        if not self._stopping:
            _log.error("listener.lost", url=self._listener.url)
            self.stop()

    def _start(self, channel: Channel) -> None:
        thread = threading.Thread(
            target=self._serve, args=(channel,), name=f"genie-client {channel.url}", daemon=True
        )
        with self._lock:
            self._clients[thread] = channel
        thread.start()

    def _serve(self, channel: Channel) -> None:
        _log.info("client.connected", client=channel.url)
        try:
            if self._threads:
                _set_threads(self._threads)
            self._executor.serve(channel)
        except ConnectionLost as error:
            _log.info("client.lost", client=channel.url, reason=str(error))
        except Exception as error:  # one client's fault must not end the others' sessions
            _log.error("client.failed", client=channel.url, reason=f"{error!r}")
        finally:
            channel.close()
            with self._lock:
                self._clients.pop(threading.current_thread(), None)
            memory.return_freed()
            _log.info("client.left", client=channel.url)

    def _drain(self) -> None:
        end = time.monotonic() + self._grace
        while self._connected() and time.monotonic() < end:
            with contextlib.suppress(queue.Empty):
                self._stops.get(timeout=0.02)
                break
        for thread, channel in self._connected():
            channel.close()
            thread.join(1.0)

    def _connected(self) -> list[tuple[threading.Thread, Channel]]:
        with self._lock:
            return list(self._clients.items())


def serve(
    url: str,
    device: str,
    settings: Settings,
    announce: Callable[[str, str], None],
    *,
    threads: int = 0,
    grace: float = 5.0,
) -> None:
    """Serve `device` at `url` until SIGTERM or SIGINT; a second one ends the grace period.

    `announce(url, device)` is called once clients can connect, with the real port in the URL.
    Raises what opening the listener or making the executor raises.
    """
    if threads:
        os.environ["OMP_NUM_THREADS"] = str(threads)  # outranks what a client asks for
        _set_threads(threads)
    memory.keep_freed()
    executor = make_executor(device, settings)
    try:
        listener = open_listener(url, settings)
    except BaseException:
        executor.close()
        raise
    server = Server(listener, executor, grace=grace, threads=threads)
    _stop_on_signals(server.stop)
    announce(listener.url, executor.device)
    server.run()


def _set_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` on SIGTERM and SIGINT (main thread only).

    It stays so: a second Ctrl-C, while the interpreter ends, must not print a traceback.
    """
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stop())
