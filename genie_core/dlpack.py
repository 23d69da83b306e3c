"""DLPack refuses the device's tensors, whose addresses mean nothing in this process."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.dlpack

from genie_core.compat import NAME


def refuse() -> None:
    """Make torch's exporting functions raise `BufferError` for such tensors. Idempotent.

    torch exports them as an "extension device"; `Tensor.__dlpack__` and the functions of
    `torch.utils.dlpack` end in these entry points, the second one since 2.9. Done when the device
    is registered: what was imported before it would go on exporting.
    """
    for name in ("_to_dlpack", "_to_dlpack_versioned"):
        export = getattr(torch._C, name, None)
        if export is None or hasattr(export, "__wrapped__"):
            continue
        refusing = _refusing(export)
        for module in (torch._C, torch.utils.dlpack, torch):
            for alias, value in list(vars(module).items()):
                if value is export:
                    setattr(module, alias, refusing)


def _refusing(export: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(export)
    def to_dlpack(tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if tensor.device.type == NAME:
            raise BufferError(
                f"a tensor of {tensor.device} has no memory in this process, so DLPack cannot hand "
                "it on: use tensor.cpu() first"
            )
        return export(tensor, *args, **kwargs)

    return to_dlpack
