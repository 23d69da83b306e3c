"""Makes the device known to Dynamo; nothing here imports Dynamo, which takes a second."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from genie_core.compat import NAME
from genie_core.device import device_count

_INTERFACES = "torch._dynamo.device_interface"


def register_if_loaded() -> None:
    """Register the device, where Dynamo is there already."""
    if _INTERFACES in sys.modules:
        register()


@lru_cache(None)
def register() -> None:
    """Register the device's interface, and have Dynamo leave Genie's own code alone."""
    _skip("genie_core", "genie_plugins")
    if find_spec(_INTERFACES) is None:  # torch 2.1 has none to register with
        return
    from torch._dynamo.device_interface import register_interface_for_device

    from genie_plugins.dynamo.interface import RemoteAcceleratorInterface

    for name in (NAME, *(f"{NAME}:{index}" for index in range(device_count()))):
        register_interface_for_device(name, RemoteAcceleratorInterface)


def _skip(*modules: str) -> None:
    rules: Any = __import__("torch._dynamo", fromlist=["trace_rules", "skipfiles"])
    rules = getattr(rules, "trace_rules", None) or rules.skipfiles  # its name up to torch 2.1
    for module in modules:
        rules.add(module)
