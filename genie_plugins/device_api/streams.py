"""Streams and events. A device does its work in order, so that all its streams are one.

Torch has them for every kind of device since 2.4: before that, this module gives nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from genie_core.compat import NAME
from genie_core.device import current_device, index_of, set_device

if TYPE_CHECKING:
    from genie_core.device import Device

_NAMES = ["Event", "Stream", "current_stream", "default_stream", "set_stream", "stream"]
__all__ = _NAMES if hasattr(torch, "Event") else []  # noqa: PLE0605


class _OfDevice(type):
    """Makes plain objects of torch's own class: its methods refuse those of subclasses."""

    base: type

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.base) and str(getattr(instance, "device", "")).startswith(
            NAME
        )


class Stream(metaclass=_OfDevice):
    """A `torch.Stream` of a device; `priority` is accepted and has nothing to decide."""

    base = torch.Stream

    def __new__(cls, device: Device = None, priority: int = 0) -> Any:
        """Of the current device if none is named."""
        return torch.Stream(device=torch.device(NAME, index_of(device)), priority=priority)


class Event(metaclass=_OfDevice):
    """A `torch.Event` of a device: a point in its work, with a time if `enable_timing`."""

    base = getattr(torch, "Event", object)

    def __new__(
        cls, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> Any:
        """Of the current device. Raises `ValueError` for one to share between processes."""
        if interprocess:
            raise ValueError("events of remote_accelerator cannot be shared between processes")
        device = torch.device(NAME, current_device())
        return torch.Event(device, enable_timing=enable_timing, blocking=blocking)


def current_stream(device: Device = None) -> torch.Stream:
    """The stream that ops of `device` are recorded on."""
    found: torch.Stream = Stream(device)
    return found


def default_stream(device: Device = None) -> torch.Stream:
    """The same: there is one."""
    found: torch.Stream = Stream(device)
    return found


def set_stream(stream: torch.Stream | None) -> None:
    """Make the stream's device the current one; None changes nothing."""
    if stream is not None:
        set_device(stream.device)


@contextlib.contextmanager
def stream(stream: torch.Stream | None) -> Iterator[None]:
    """Make the stream's device the current one for the `with` block."""
    before = current_device()
    set_stream(stream)
    try:
        yield
    finally:
        set_device(before)
