"""What Dynamo and Inductor ask of a kind of device."""

from __future__ import annotations

from typing import Any

import torch
from torch._dynamo.device_interface import DeviceInterface

from genie_core import device as devices


class RemoteAcceleratorInterface(DeviceInterface):
    """The device's module, by the names that Dynamo has for its functions."""

    device = devices.device  # type: ignore[assignment]
    Event = getattr(torch, "Event", object)
    Stream = torch.Stream

    class Worker:
        """The same for processes that compile."""

        set_device = staticmethod(devices.set_device)
        current_device = staticmethod(devices.current_device)

        @staticmethod
        def get_device_properties(device: Any = None) -> Any:
            """Ask the executor behind `device`."""
            return _module().get_device_properties(device)

    current_device = staticmethod(devices.current_device)
    set_device = staticmethod(devices.set_device)  # type: ignore[assignment]
    device_count = staticmethod(devices.device_count)
    is_available = staticmethod(devices.is_available)
    synchronize = staticmethod(devices.synchronize)

    @staticmethod
    def exchange_device(device: int) -> int:
        """Make `device` the current one, and return the one before."""
        before = devices.current_device()
        if device >= 0:
            devices.set_device(device)
        return before

    maybe_exchange_device = exchange_device

    @staticmethod
    def current_stream() -> Any:
        """The one stream of the current device."""
        return _module().current_stream()

    @staticmethod
    def set_stream(stream: Any) -> None:
        """Make the stream's device the current one."""
        _module().set_stream(stream)

    @staticmethod
    def stream(stream: Any) -> Any:
        """Return a context manager: the stream's device is the current one."""
        return _module().stream(stream)

    @staticmethod
    def get_raw_stream(device_idx: int) -> int:  # noqa: ARG004 (Dynamo gives one)
        """There is one stream, which needs no handle."""
        return 0

    @staticmethod
    def get_compute_capability(device: Any = None) -> Any:
        """What an executor can do has no number."""
        return _module().get_device_capability(device)

    @staticmethod
    def is_bf16_supported(including_emulation: bool = False) -> bool:
        """Whether bfloat16 can be used."""
        supported: bool = _module().is_bf16_supported(including_emulation)
        return supported

    @staticmethod
    def memory_allocated(device: Any = None) -> int:
        """Bytes of live tensors."""
        allocated: int = _module().memory_allocated(device)
        return allocated


def _module() -> Any:
    return torch.remote_accelerator  # type: ignore[attr-defined]
