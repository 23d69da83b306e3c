"""Records the branches and bodies of one call of control flow, then the call itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch.utils import _pytree as pytree

from genie_core import _native
from genie_core.compat import NAME
from genie_core.dispatcher import dispatcher
from genie_core.errors import CaptureError
from genie_plugins.control_flow.regions import keep

if TYPE_CHECKING:
    from typing_extensions import Self

Tensor = torch.Tensor
_MOST_TRIES = 8


def device_of(values: Iterable[Any]) -> int:
    """The index of the device that the first tensor of ours is on; the current one for none."""
    for value in pytree.tree_leaves(list(values)):
        if isinstance(value, Tensor) and value.device.type == NAME:
            return int(value.device.index)
    return _native.current_device()


@attrs.frozen(eq=False)
class Region:
    """A branch or a body that was recorded: its number, its program's name, what it gives.

    `results` are flat; those that are no tensors are the same in each run.
    """

    number: int
    name: str
    results: list[Any]
    structure: Any

    @property
    def tensors(self) -> list[Tensor]:
        """What it gives, as far as that is computed."""
        return [value for value in self.results if isinstance(value, Tensor)]

    def fill(self, tensors: Sequence[Tensor]) -> Any:
        """Its results as the function gave them, with `tensors` in place of its own."""
        given = iter(tensors)
        values = [next(given) if isinstance(v, Tensor) else v for v in self.results]
        return pytree.tree_unflatten(values, self.structure)


class Recording:
    """What this thread does on `device` inside a `with` block is recorded region by region.

    Other threads wait meanwhile. The block ends with :meth:`call` or :meth:`ask`; without, nothing
    was recorded.
    """

    def __init__(self, device: int) -> None:
        self._device = device
        self._count = 0
        self._is_open = False

    def __enter__(self) -> Self:
        _native.begin_control(self._device)
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, traceback: TracebackType | None
    ) -> None:
        if self._is_open:
            _native.abandon_control(self._device)

    def region(self, function: Callable[..., Any], given: Sequence[Tensor] = ()) -> Region:
        """Record what `function` does; it gets stand-ins for tensors like `given`.

        It may be called again, where it changes a value that its first call took for known. Raises
        `CaptureError` where it reads what is not known before it runs.
        """
        for _ in range(_MOST_TRIES):
            placeholders = [torch.empty_like(tensor) for tensor in given]
            for placeholder in placeholders:
                _native.make_placeholder(placeholder)
            results, structure = pytree.tree_flatten(function(*placeholders))
            tensors = [value for value in results if isinstance(value, Tensor)]
            sealed = _native.end_region(self._device, placeholders, tensors)
            if sealed is not None:
                program = dispatcher.session(self._device).define_region(sealed)
                name = keep(program, sealed.bound)
                self._count += 1
                return Region(self._count - 1, name, results, structure)
        raise CaptureError("a loop's body", "it does something else each time it is called")

    def hoisted(self, size: Sequence[int], like: Tensor) -> Tensor:
        """New memory outside of the region that is being recorded, which may write to it."""
        tensor = torch.empty(size, dtype=like.dtype, device=like.device)
        _native.hoist(tensor)
        return tensor

    def call(self, op: str, args: list[Any], like: Sequence[Tensor]) -> list[Tensor]:
        """Record the call; returns its results, new tensors like those given."""
        outputs = [torch.empty_like(tensor) for tensor in like]
        _native.record_control(self._device, op, _plain(args), outputs)
        self._is_open = False
        return outputs

    def ask(self, op: str, args: list[Any]) -> list[Tensor]:
        """Have the call run at once, for its results' shapes are not known before."""
        plain = _plain(args)
        self._is_open = False
        return _native.ask_control(self._device, op, plain)


def _plain(args: list[Any]) -> list[Any]:
    return [
        (arg.number, arg.name)
        if isinstance(arg, Region)
        else _plain(list(arg))
        if isinstance(arg, list | tuple)
        else arg
        for arg in args
    ]
