"""What the core does otherwise with some of the supported PyTorch releases (2.1.2 and up)."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.dlpack

NAME = "remote_accelerator"


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
        generate: Any = torch.utils.generate_methods_for_privateuse1_backend  # type: ignore[attr-defined]
        kinds = ("for_tensor", "for_module", "for_packed_sequence", "for_storage")
        known = inspect.signature(generate).parameters  # 2.1 has no for_packed_sequence
        generate(**{kind: True for kind in kinds if kind in known})


def refuse_dlpack() -> None:
    """Make DLPack refuse the device's tensors, whose addresses mean nothing in this process.

    torch exports them as an "extension device"; `Tensor.__dlpack__` and the functions of
    `torch.utils.dlpack` end in these entry points, the second one since 2.9.
    """
    for name in ("_to_dlpack", "_to_dlpack_versioned"):
        export = getattr(torch._C, name, None)
        if export is not None and not hasattr(export, "__wrapped__"):
            _replace(export, _refusing(export))


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


def _replace(old: object, new: object) -> None:
    for module in (torch._C, torch.utils.dlpack, torch):
        for name, value in list(vars(module).items()):
            if value is old:
                setattr(module, name, new)


def real_type(argument: Any) -> str:
    """The declared type of a schema's argument, such as ``Optional[ScalarType]``."""
    return str(getattr(argument, "real_type", argument.type))
