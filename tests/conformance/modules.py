"""One entry of torch's ModuleInfo database, on a device and on the CPU, in training and without."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import torch
from conformance.samples import copy, tensors_in
from conformance.trials import Ran
from conformance.ways import NothingToDo, Place, differentiable, output_gradients
from torch.utils._pytree import tree_map

WAYS = ("forward", "backward")
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64)


@functools.cache
def database() -> list[Any]:
    """The ModuleInfo database of the installed torch."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_modules import module_db

    return list(module_db)


def has_dtype(info: Any, dtype: torch.dtype) -> bool:
    """Whether to try `dtype`: the database lists complex ones only where a module takes them.

    It leaves out the short floats, which most take: whether this one does, the CPU says.
    """
    return dtype in DTYPES and (not dtype.is_complex or dtype in info.dtypes)


@attrs.frozen
class ModuleTrial:
    """A module, one of the database's inputs for it, and a mode."""

    info: Any
    given: Any
    dtype: torch.dtype
    training: bool
    way: str

    @property
    def title(self) -> str:
        return "train" if self.training else "eval"

    @property
    def before(self) -> list[torch.Tensor]:
        return tensors_in(self.given.forward_input.args, self.given.forward_input.kwargs)

    def run(self, place: Place) -> Ran:
        """Make the module, move it, call it, and differentiate if that is the way."""
        module = self._module(place)
        move = functools.partial(copy, device=place)
        args = tree_map(move, self.given.forward_input.args)
        kwargs = tree_map(move, self.given.forward_input.kwargs)
        torch.manual_seed(1)
        with torch.set_grad_enabled(self.way == "backward"):
            result = module(*args, **kwargs)
        found = {"result": result, "state": list(module.state_dict().values())}
        inputs = tensors_in(args, kwargs)
        if self.way == "backward":
            leaves = differentiable([*inputs, *module.parameters()])
            outputs = differentiable(tensors_in(result))
            if not leaves or not outputs:
                raise NothingToDo
            torch.autograd.backward(outputs, output_gradients(outputs, place))
            found["gradients"] = [leaf.grad for leaf in leaves]
        return Ran(found, inputs, everywhere=True)

    def _module(self, place: Place) -> Any:
        torch.manual_seed(0)
        made = self.given.constructor_input
        module = self.info.module_cls(*made.args, **made.kwargs)
        for part in module.modules():
            for flag in ("enable_nested_tensor", "use_nested_tensor"):
                if hasattr(part, flag):  # the device has none: see the page
                    setattr(part, flag, False)
        return module.to(self.dtype).to(place).train(self.training)


def trials(info: Any, dtype: torch.dtype, way: str, max_samples: int) -> Iterator[ModuleTrial]:
    """Every input of the entry, in training mode and in evaluation mode."""
    grad = way == "backward"
    for training in (True, False):
        torch.manual_seed(0)
        inputs = info.module_inputs_func(info, "cpu", dtype, grad, training)
        inputs = [given for given in inputs if given.forward_input is not None]
        step = -(-len(inputs) // max_samples) if max_samples else 1
        for given in inputs[::step]:
            yield ModuleTrial(info, given, dtype, training, way)
