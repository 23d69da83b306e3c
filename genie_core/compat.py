"""Everything in the core that differs between the supported PyTorch releases (2.1.2 and up)."""

from __future__ import annotations

import importlib
import types
from typing import Any

import torch

NAME = "remote_accelerator"
# Torch calls a device module's `_lazy_init` before an operator that names the device.
CALLS_LAZY_INIT = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)


def check_build(built: str) -> None:
    """Raise `ImportError` unless the extension was built against this torch's major.minor."""
    ours = ".".join(torch.__version__.split(".")[:2])
    if ours != ".".join(built.split(".")[:2]):
        raise ImportError(
            f"genie_core was built for torch {built}, and torch {torch.__version__} is installed: "
            "build it again with `pip install --no-build-isolation --force-reinstall genie-remote`"
        )


def name_device(module: types.ModuleType) -> None:
    """Give PrivateUse1 its name, its module and the tensor, module and storage methods."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        torch.utils.rename_privateuse1_backend(NAME)  # type: ignore[attr-defined]
    if not hasattr(torch, NAME):
        torch._register_device_module(NAME, module)
    # Makes torch.Tensor.is_remote_accelerator, Module.remote_accelerator() and their kin.
    if not hasattr(torch.Tensor, f"is_{NAME}"):
        torch.utils.generate_methods_for_privateuse1_backend(for_storage=True)  # type: ignore[attr-defined]


def real_type(argument: Any) -> str:
    """The declared type of a schema's argument, such as ``Optional[ScalarType]``."""
    return str(getattr(argument, "real_type", argument.type))


def has_kernel(name: str, key: str) -> bool:
    """Whether an operator's overload has a kernel of its own for a dispatch key.

    The fused optimizers have one for the CPU since torch 2.4.
    """
    try:
        return bool(torch._C._dispatch_has_kernel_for_dispatch_key(name, key))  # noqa: SLF001
    except RuntimeError:  # no such overload
        return False


def higher_order_op(module: str, name: str) -> Any:
    """An op of `torch._higher_order_ops`; None where this torch has none of that name."""
    try:
        found = importlib.import_module(f"torch._higher_order_ops.{module}")
    except ImportError:
        return None
    return getattr(found, name, None)
