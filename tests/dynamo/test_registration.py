"""Dynamo finds the backend and knows the device."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

INTERFACES = "torch._dynamo.device_interface"


def test_backend_is_listed() -> None:
    assert "genie" in torch._dynamo.list_backends()


def test_interface(device: torch.device) -> None:
    pytest.importorskip(INTERFACES, reason="this torch registers no devices with Dynamo")
    from torch._dynamo.backends.registry import lookup_backend
    from torch._dynamo.device_interface import get_interface_for_device

    lookup_backend("genie")
    interface = get_interface_for_device(device.type)
    assert interface is get_interface_for_device(f"{device.type}:0")
    assert interface.is_available()
    assert interface.device_count() >= 1
    assert interface.current_device() == interface.exchange_device(0) == 0
    assert interface.maybe_exchange_device(-1) == 0
    assert isinstance(interface.current_stream(), interface.Stream)
    with interface.stream(interface.current_stream()), interface.device(0):
        interface.synchronize()
    assert interface.get_raw_stream(0) == 0
    assert interface.memory_allocated() >= 0
    assert interface.is_bf16_supported(including_emulation=True)
    assert interface.get_compute_capability() == (0, 0)
    assert interface.Worker.get_device_properties(0).total_memory > 0


def test_dynamo_is_not_imported_before_it_is_used() -> None:
    code = (
        "import torch, genie_core, sys; torch.ones(1, device='remote_accelerator').cpu();"
        "assert 'torch._dynamo.device_interface' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_known_from_the_first_use_on() -> None:
    pytest.importorskip(INTERFACES, reason="this torch registers no devices with Dynamo")
    code = (
        "import torch, torch._dynamo.device_interface as d, genie_core;"
        "torch.ones(1, device='remote_accelerator').cpu();"
        "print(d.get_interface_for_device('remote_accelerator').device_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "1\n"
