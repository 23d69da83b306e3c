"""Makes the device exist when torch is imported; may never make `import torch` fail."""

from __future__ import annotations

import os
import sys
import warnings


def autoload() -> None:
    """Register the device. The entry point of the group `torch.backends` (PyTorch 2.5 and up)."""
    try:
        from genie_core import device

        device.register()
    except Exception as error:
        warnings.warn(
            f"remote_accelerator is not available: {error}. Run `genie doctor`.", stacklevel=2
        )


def ensure() -> None:
    """Make `import genie_core` alone do the same, where torch does not ask for it."""
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD", "1") == "0":
        return
    if hasattr(sys.modules.get("torch"), "Tensor") or _old_torch():
        autoload()


def _old_torch() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        major, minor = version("torch").split(".")[:2]
    except PackageNotFoundError:
        return False
    return (int(major), int(minor)) < (2, 5)
