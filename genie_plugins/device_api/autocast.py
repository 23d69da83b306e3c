"""What `torch.autocast` asks of a device's module: more before torch 2.4, where it stays off."""

from __future__ import annotations

import torch

from genie_core import _native

_LEGACY = [
    "get_autocast_dtype",
    "is_autocast_enabled",
    "set_autocast_dtype",
    "set_autocast_enabled",
]
_NAMES = ["get_amp_supported_dtype"]
__all__ = _NAMES if hasattr(torch, "get_autocast_dtype") else _NAMES + _LEGACY  # noqa: PLE0605


def get_amp_supported_dtype() -> list[torch.dtype]:
    """What autocast may use; nothing on a torch whose lists of ops it lacks, 2.5 and before."""
    return [torch.bfloat16, torch.float16] if _native.build_info()["autocast"] else []


def is_autocast_enabled() -> bool:
    """Never."""
    return False


def set_autocast_enabled(_: bool) -> None:
    """Changes nothing."""


def get_autocast_dtype() -> torch.dtype:
    """What autocast would use."""
    return torch.float16


def set_autocast_dtype(_: torch.dtype) -> None:
    """Changes nothing."""
