"""An executor on a daemon thread of this process."""

from __future__ import annotations

import atexit
import threading
import weakref
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from genie_core.errors import ConnectionFailed, SettingsError
from genie_plugins.transport_inproc.channel import InprocChannel, channel_pair

if TYPE_CHECKING:
    from genie_core.contracts import Executor
    from genie_core.settings import Settings

STOP_SECONDS = 60
_open: weakref.WeakSet[InprocChannel] = weakref.WeakSet()


def open_embedded(url: str, settings: Settings) -> InprocChannel:
    """Make an executor for the device that `url` names and return a channel to it.

    Raises `SettingsError` for a bad address and `ConnectionFailed` when no plugin makes executors.
    """
    executor = _make_executor(url, settings)
    client, server = channel_pair(url, settings.max_message)
    thread = threading.Thread(
        target=_serve, args=(executor, server), name="genie-executor", daemon=True
    )
    client.after_close = lambda: _join(thread)
    thread.start()
    _open.add(client)
    return client


def device_of(url: str) -> str:
    """Return the torch device that `url` asks for. Raises `SettingsError` for a bad address."""
    split = urlsplit(url)
    query = dict(parse_qsl(split.query, keep_blank_values=True))
    if split.netloc or split.path or query.keys() - {"device"}:
        raise SettingsError("GENIE_DEVICES", url, "give inproc:// or inproc://?device=cpu")
    return query.get("device") or _best_device()


def _best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _make_executor(url: str, settings: Settings) -> Executor:
    from genie_core.plugins import manager

    hook = manager().hook.genie_make_executor
    executor: Executor | None = hook(device=device_of(url), settings=settings)
    if executor is None:
        raise ConnectionFailed(url, "no plugin makes executors; see `genie plugins`")
    return executor


def _serve(executor: Executor, channel: InprocChannel) -> None:
    try:
        executor.serve(channel)
    finally:
        channel.close()
        executor.close()


def _join(thread: threading.Thread) -> None:
    # Native code that is left running may crash in what the end of the process tears down. Waited
    # for in steps, of which a machine that stands still for a while uses up one.
    if thread is threading.current_thread():
        return
    for _ in range(STOP_SECONDS):
        thread.join(1.0)
        if not thread.is_alive():
            return


@atexit.register
def _close_all() -> None:
    for channel in list(_open):
        channel.close()
