"""What a device is: names and properties of its executor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from genie_core.device import index_of
from genie_core.dispatcher import dispatcher

if TYPE_CHECKING:
    from genie_core.device import Device

__all__ = [
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "is_bf16_supported",
    "is_initialized",
]


@attrs.frozen
class DeviceProperties:
    """An executor's device. `total_memory` is in bytes, `type` torch's name such as "cuda:0"."""

    name: str
    type: str
    url: str
    total_memory: int


def get_device_properties(device: Device = None) -> DeviceProperties:
    """Ask the executor behind `device`; a round trip."""
    index = index_of(device)
    session = dispatcher.session(index)
    total = dispatcher.memory_info(index)[1]
    name = f"{session.executor_device} at {session.url}"
    return DeviceProperties(name, session.executor_device, session.url, total)


def get_device_name(device: Device = None) -> str:
    """Device and address of the executor; connects if nobody has yet."""
    session = dispatcher.session(index_of(device))
    return f"{session.executor_device} at {session.url}"


def get_device_capability(device: Device = None) -> tuple[int, int]:
    """Always (0, 0), of an existing device: what an executor can do has no CUDA number."""
    index_of(device)
    return (0, 0)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether bfloat16 can be used: always, by emulation where the executor's device has none."""
    return including_emulation


def is_initialized() -> bool:
    """Always true: there is no runtime to start."""
    return True
