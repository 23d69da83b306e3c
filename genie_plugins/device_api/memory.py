"""Memory: what live tensors hold (counted here), and what the executor's device has left."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from genie_core import _native
from genie_core.device import index_of
from genie_core.dispatcher import dispatcher

if TYPE_CHECKING:
    from genie_core.device import Device

__all__ = [
    "empty_cache",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
]


def memory_allocated(device: Device = None) -> int:
    """Bytes of storages that live tensors of `device` hold; costs no round trip."""
    return _native.memory_use(index_of(device))["allocated"]


def max_memory_allocated(device: Device = None) -> int:
    """The most that `memory_allocated` has been, since `reset_peak_memory_stats` if called."""
    return _native.memory_use(index_of(device))["peak"]


def memory_reserved(device: Device = None) -> int:
    """The same as `memory_allocated`: what an executor's allocator keeps back is its own."""
    return memory_allocated(device)


def max_memory_reserved(device: Device = None) -> int:
    """The same as `max_memory_allocated`."""
    return max_memory_allocated(device)


def reset_peak_memory_stats(device: Device = None) -> None:
    """Start the peak anew at what is allocated now."""
    _native.reset_peak(index_of(device))


def memory_stats(device: Device = None) -> OrderedDict[str, int]:
    """The figures above in the form of `torch.cuda.memory_stats`, in bytes and counts."""
    use = _native.memory_use(index_of(device))
    live = use["allocations"] - use["frees"]
    figures = {
        "allocated_bytes": (use["allocated"], use["peak"], use["total"], use["freed"]),
        "allocation": (live, live, use["allocations"], use["frees"]),
    }
    figures["reserved_bytes"] = figures["active_bytes"] = figures["allocated_bytes"]
    kinds = ("current", "peak", "allocated", "freed")
    return OrderedDict(
        (f"{figure}.all.{kind}", value)
        for figure, values in sorted(figures.items())
        for kind, value in zip(kinds, values, strict=True)
    )


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Free and total bytes of the executor's device; a round trip."""
    return dispatcher.memory_info(index_of(device))


def empty_cache() -> None:
    """Have every connected executor give back memory that nothing uses."""
    dispatcher.release_memory()
