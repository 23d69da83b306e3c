"""The module `torch.remote_accelerator`: devices, seeds and sessions; plugins bring the rest."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import ChainMap
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from genie_core import _native, compat, dlpack
from genie_core.compat import NAME
from genie_core.dispatcher import dispatcher

if TYPE_CHECKING:
    from genie_core.values import Stats

__all__ = [
    "connect",
    "current_device",
    "device",
    "device_count",
    "is_available",
    "manual_seed_all",
    "reset_stats",
    "set_device",
    "stats",
    "synchronize",
]

Device = torch.device | str | int | None
SETTLE_MS = 30_000  # a device thread that hangs in a hook does not keep the process longer
_lock = threading.Lock()
_registered = False
_initialized = True  # torch.utils.checkpoint looks for it


def register() -> None:
    """Register the device with PyTorch. Idempotent; loads no plugin and connects nowhere."""
    global _registered
    with _lock:
        if _registered:
            return
        compat.check_build(_native.build_info()["torch"])
        compat.name_device(sys.modules[__name__])
        dlpack.refuse()
        _native.register_device()
        if not compat.CALLS_LAZY_INIT:
            _native.register_ops()
        _native.set_host(dispatcher)
        dispatcher.count_devices()
        atexit.register(_leave, os.getpid())
        os.register_at_fork(after_in_child=dispatcher.forked)
        _registered = True


def _leave(process: int) -> None:
    """Close the sessions and bring autograd's device threads to rest before Python goes.

    One that still lets go of a Python object (2.13 and later: the context of each `backward()`),
    or that is only starting, would otherwise abort the process: pytorch#190489. So would any other
    thread that comes back from native code afterwards.
    """
    if os.getpid() != process:  # a fork has neither the threads nor the connections
        return
    _native.keep_ended_threads()
    _native.settle_autograd(SETTLE_MS)
    dispatcher.close()


def connect(url: str) -> torch.device:
    """Connect to the executor at `url` and return the device that stands for it.

    The first call without `GENIE_DEVICES` takes index 0; each further one the next index.
    Raises `ConnectionFailed`, `ProtocolError` or `SettingsError`.
    """
    return torch.device(NAME, dispatcher.connect(url))


def stats(device: Device = None) -> Stats:
    """What a device has done so far: ops, flushes by reason, programs, round trips, bytes."""
    return dispatcher.stats(index_of(device))


def reset_stats(device: Device = None) -> None:
    """Start counting anew."""
    dispatcher.reset_stats(index_of(device))


def synchronize(device: Device = None) -> None:
    """Flush what was recorded and wait until the executor has finished it."""
    dispatcher.synchronize(index_of(device))


def is_available() -> bool:
    """Whether there is a device to use; says nothing about its executor."""
    return device_count() > 0


def device_count() -> int:
    """How many devices there are: the addresses in `GENIE_DEVICES`, else the embedded executor."""
    return _native.device_count()


def current_device() -> int:
    """Index of the calling thread's device."""
    return _native.current_device()


def set_device(device: torch.device | str | int) -> None:
    """Make `device` the calling thread's."""
    _native.set_current_device(index_of(device))


class device:  # noqa: N801  (the name that every device module has)
    """Context manager: the calling thread's device for the time being."""

    def __init__(self, device: torch.device | str | int) -> None:
        self._index = index_of(device)
        self._previous = -1

    def __enter__(self) -> None:
        self._previous = _exchange_device(self._index)

    def __exit__(self, *exc: object) -> None:
        _exchange_device(self._previous)


def manual_seed_all(seed: int) -> None:
    """Seed every device's generator; `torch.manual_seed` calls it."""
    for index in range(device_count()):
        _native.default_generator(index).manual_seed(int(seed))


def _lazy_init() -> None:
    """Tie PyTorch's operators to the device, before the first that names it. No session yet."""
    _native.register_ops()


_exchange_device = _native.exchange_device
_is_in_bad_fork = _native.is_forked


def index_of(device: Device) -> int:
    """The index that `device` names, the current one for None. Raises for one that is not there."""
    index: int | None
    if device is None or isinstance(device, int):
        index = device
    else:
        device = torch.device(device)
        if device.type != NAME:
            raise ValueError(f"expected a {NAME} device, not {device}")
        index = device.index
    if index is None:
        return current_device()
    if index != -1:  # torch's word for none
        _native.check_device(index)
    return index


@lru_cache(None)
def _plugin_api() -> Mapping[str, object]:
    from genie_core.plugins import manager

    return ChainMap(*reversed(manager().hook.genie_device_api()))  # pluggy asks the last one first


def __getattr__(name: str) -> Any:
    """What plugins give to the module."""
    if name.startswith("_") or name not in _plugin_api():
        raise AttributeError(f"module 'torch.{NAME}' has no attribute {name!r}")
    return _plugin_api()[name]


def __dir__() -> list[str]:
    return sorted({*__all__, *_plugin_api()})
