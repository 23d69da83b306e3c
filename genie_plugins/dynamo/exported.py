"""Programs of `torch.export` on the device."""

from __future__ import annotations

import os
from typing import Any

import torch

from genie_core.compat import NAME
from genie_core.errors import SettingsError


def load_exported(
    program: Any, device: torch.types.Device = NAME, *, compiled: bool = True
) -> torch.nn.Module:
    """Bring a `torch.export.ExportedProgram`, or the `.pt2` file of one, to a device.

    Returns a module with the signature that was exported, its weights on `device`. With `compiled`
    its graph becomes a program at the first call; otherwise each call is recorded. Raises
    `SettingsError` for a file that holds no exported program.
    """
    exported = program if hasattr(program, "graph_signature") else _read(program)
    module: torch.nn.Module = _moved(exported, torch.device(device or NAME)).module()
    if not compiled:
        return module
    wrapped: Any = torch.compile(module, backend="genie")
    return wrapped  # type: ignore[no-any-return]


def _read(path: str | os.PathLike[str]) -> Any:
    try:
        return torch.export.load(path)
    except OSError:
        raise
    except Exception as error:
        name = os.fspath(path)
        raise SettingsError(
            "exported program", name, f"no .pt2 file of this torch ({error})"
        ) from error


def _moved(exported: Any, device: torch.device) -> Any:
    """The program with its weights, and the tensors that it makes itself, on `device`."""
    try:
        from torch.export.passes import move_to_device_pass
    except ImportError:
        reason = "this torch has no torch.export.passes, which moves it to a device"
        raise SettingsError("exported program", str(device), reason) from None
    return move_to_device_pass(exported, str(device))
