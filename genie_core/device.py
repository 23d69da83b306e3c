"""The device as Python sees it: `torch.remote_accelerator` and the sessions behind its indices."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

from genie_core import _native, compat
from genie_core.compat import NAME
from genie_core.dispatcher import dispatcher

if TYPE_CHECKING:
    from genie_core.values import Stats

Device = torch.device | str | int | None
_lock = threading.Lock()
_registered = False
SETTLE_MS = 5000  # a device thread that hangs in a hook does not keep the process longer


def register() -> None:
    """Register the device with PyTorch. Idempotent; loads no plugin and connects nowhere."""
    global _registered
    with _lock:
        if _registered:
            return
        compat.check_build(_native.build_info()["torch"])
        compat.name_device(_module())
        compat.refuse_dlpack()
        _native.register_device()
        _native.set_host(dispatcher)
        dispatcher.count_devices()
        atexit.register(_leave, os.getpid())
        os.register_at_fork(after_in_child=_forked)
        _registered = True


def _leave(process: int) -> None:
    """Close the sessions and bring autograd's device threads to rest before Python goes.

    One that still lets go of a Python object (2.13 and later: the context of each `backward()`),
    or that is only starting, would otherwise abort the process: pytorch#190489.
    """
    if os.getpid() != process:  # a fork has neither the threads nor the connections
        return
    _native.settle_autograd(SETTLE_MS)
    dispatcher.close()


def _forked() -> None:
    if dispatcher.is_used():
        _native.refuse_after_fork()


def connect(url: str) -> torch.device:
    """Connect to the executor at `url` and return the device that stands for it.

    The first call without `GENIE_DEVICES` takes index 0; each further one the next index.
    Raises `ConnectionFailed`, `ProtocolError` or `SettingsError`.
    """
    register()
    return torch.device(NAME, dispatcher.connect(url))


def stats(device: Device = None) -> Stats:
    """What a device has done so far: ops, flushes by reason, programs, round trips, bytes."""
    register()
    return dispatcher.stats(index_of(device))


def reset_stats(device: Device = None) -> None:
    """Start counting anew."""
    register()
    dispatcher.reset_stats(index_of(device))


def synchronize(device: Device = None) -> None:
    """Flush what was recorded and wait until the executor has finished it."""
    register()
    dispatcher.synchronize(index_of(device))


def is_available() -> bool:
    """Whether there is a device to use; says nothing about its executor."""
    return device_count() > 0


def device_count() -> int:
    """How many devices there are: the addresses in `GENIE_DEVICES`, else the embedded executor."""
    return int(_native.device_count())


def current_device() -> int:
    """Index of the calling thread's device."""
    return int(_native.current_device())


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


def _exchange_device(index: int) -> int:
    return int(_native.exchange_device(index))


def _is_in_bad_fork() -> bool:
    return _native.is_forked()


def _lazy_init() -> None:
    """Tie PyTorch's operators to the device, before the first that names it. No session yet."""
    _native.register_ops()


def is_initialized() -> bool:
    """Always true: there is no runtime to start."""
    return True


def manual_seed(seed: int) -> None:
    """Seed the current device's generator."""
    default_generator(current_device()).manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seed every device's generator."""
    for index in range(device_count()):
        default_generator(index).manual_seed(int(seed))


def default_generator(index: int) -> torch.Generator:
    """The generator that a device's random ops use when they are given none."""
    generator: torch.Generator = _native.default_generator(index)
    return generator


def get_rng_state(device: Device = None) -> torch.Tensor:
    """State of a device's generator, as the executor's kind of generator stores it (uint8)."""
    return default_generator(index_of(device)).get_state()


def set_rng_state(state: torch.Tensor, device: Device = None) -> None:
    """Put back a state that `get_rng_state` returned."""
    default_generator(index_of(device)).set_state(state)


def get_amp_supported_dtype() -> list[torch.dtype]:
    """What autocast may use; nothing on a torch whose lists of ops it lacks, 2.5 and before."""
    return [torch.bfloat16, torch.float16] if _native.build_info()["autocast"] else []


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
    count = device_count()
    if not -1 <= index < count:
        there = "there is 1 device" if count == 1 else f"there are {count} devices"
        raise RuntimeError(
            f"{NAME}:{index} does not exist: {there}. Name more executors in "
            "GENIE_DEVICES or with genie_core.connect(url)."
        )
    return index


_PUBLIC = (
    "connect",
    "current_device",
    "default_generator",
    "device",
    "device_count",
    "get_amp_supported_dtype",
    "get_rng_state",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "reset_stats",
    "set_device",
    "set_rng_state",
    "stats",
    "synchronize",
)


def _module() -> types.ModuleType:
    """`torch.remote_accelerator`: this module's public functions and what torch looks for."""
    module = types.ModuleType(f"torch.{NAME}", __doc__)
    here: dict[str, Any] = vars(sys.modules[__name__])
    for name in (*_PUBLIC, "_is_in_bad_fork", "_lazy_init", "_exchange_device"):
        setattr(module, name, here[name])
    extra = {
        "_initialized": True,  # torch.utils.checkpoint looks for it
        "__all__": list(_PUBLIC),
        "__getattr__": _from_plugins,
        "__dir__": lambda: sorted({*_PUBLIC, *_plugin_api()}),
    }
    vars(module).update(compat.legacy_autocast(), **extra)
    return module


@lru_cache(None)
def _plugin_api() -> dict[str, object]:
    from genie_core.plugins import manager

    api: dict[str, object] = {}
    for part in manager().hook.genie_device_api():
        api = {**part, **api}
    return api


def _from_plugins(name: str) -> object:
    """An attribute of `torch.remote_accelerator` that the core does not have."""
    if name.startswith("_") or name not in _plugin_api():
        raise AttributeError(f"module 'torch.{NAME}' has no attribute {name!r}")
    return _plugin_api()[name]
