"""Which call recorded an op: of a module, of a function that is watched, of an optimizer.

Each op's context, which the recorder notes, has the innermost call. Modules are told by hooks for
all modules, because hooks of a module's own keep `nn.TransformerEncoderLayer` from its fast path.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import attrs
import torch
from torch.nn.modules import module as all_modules
from torch.optim import optimizer as all_optimizers

from genie_core.context import working

if TYPE_CHECKING:
    import torch.fx
    from torch import nn
    from typing_extensions import Self

FUNCTIONS = {
    "torch.nn.functional": {"dropout": "dropout", "cross_entropy": "cross_entropy"},
    "transformers.cache_utils.DynamicLayer": {"update": "cache"},
    "transformers.cache_utils.DynamicSlidingWindowLayer": {"update": "cache"},
    "transformers.cache_utils.StaticLayer": {"update": "cache"},
}
"""Functions that are watched wherever they are called, and what their calls are named."""

MODELING = {
    "apply_rotary_pos_emb": "rope",
    "build_alibi_tensor": "alibi",
    "create_sliding_window_causal_mask": "window",
    "create_bidirectional_sliding_window_mask": "window",
    "create_causal_mask": "mask",
    "create_bidirectional_mask": "mask",
    "dropout_add": "residual",
    "mamba_selective_scan": "scan",
    "mamba_selective_state_update": "scan",
}
"""Functions of the files in which transformers has its models."""


@attrs.frozen(eq=False)
class Call:
    """A call while a model ran. Each is one of its own, whatever its attributes."""

    kind: str
    """module, function, optimizer, or run: of the benchmark itself."""
    name: str
    """The module's or optimizer's type, or the function's name in `FUNCTIONS` or `MODELING`."""
    path: str = ""
    """The module's qualified name."""
    parent: Call | None = None
    order: int = 0
    """How many calls of the same module the same parent made before."""
    reference: weakref.ref[nn.Module] | None = attrs.field(default=None, repr=False)
    """The module. Contexts are kept for good, modules are not to be."""

    @property
    def module(self) -> nn.Module | None:
        """The module, as long as it lives."""
        return None if self.reference is None else self.reference()

    def chain(self) -> Iterator[Call]:
        """The call itself and those around it, innermost first."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent


def call_of(node: torch.fx.Node) -> Call | None:
    """The innermost call that recorded an op; None for one of autograd's own thread."""
    found = [a for a in node.meta["mark"].context.annotations if isinstance(a, Call)]
    return found[-1] if found else None


class Calls:
    """Notes calls in the context of the ops that they record, while its `with` block lasts."""

    def __init__(self, model: nn.Module) -> None:
        self._paths = {id(module): path for path, module in model.named_modules()}
        self._open: list[tuple[Call, contextlib.AbstractContextManager[None]]] = []
        self._made: Counter[tuple[Call | None, str]] = Counter()
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for handle in (
            all_modules.register_module_forward_pre_hook(self._enter_module),
            all_modules.register_module_forward_hook(self._leave),
            all_optimizers.register_optimizer_step_pre_hook(self._enter_optimizer),
            all_optimizers.register_optimizer_step_post_hook(self._leave),
        ):
            self._exit.callback(handle.remove)
        for owner, name, label in _watched():
            watched = self._watching(getattr(owner, name), label)
            self._exit.enter_context(mock.patch.object(owner, name, watched))
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()
        while self._open:  # calls that raised
            self._leave()

    @contextlib.contextmanager
    def within(self, kind: str, name: str) -> Iterator[None]:
        """A call named `name`, for as long as the `with` block lasts."""
        self._enter(Call(kind, name, "", self._innermost()))
        try:
            yield
        finally:
            self._leave()

    def _innermost(self) -> Call | None:
        return self._open[-1][0] if self._open else None

    def _enter(self, call: Call) -> None:
        context = working(annotations=(call,))
        context.__enter__()
        self._open.append((call, context))

    def _leave(self, *_: object) -> None:
        self._open.pop()[1].__exit__(None, None, None)

    def _enter_module(self, module: nn.Module, *_: object) -> None:
        path = self._paths.get(id(module), "?")
        parent = self._innermost()
        order = self._made[parent, path]
        self._made[parent, path] += 1
        self._enter(Call("module", type(module).__name__, path, parent, order, weakref.ref(module)))

    def _enter_optimizer(self, optimizer: torch.optim.Optimizer, *_: object) -> None:
        self._enter(Call("optimizer", type(optimizer).__name__, "", self._innermost()))

    def _watching(self, function: Callable[..., Any], label: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def watched(*args: Any, **kwargs: Any) -> Any:
            with self.within("function", label):
                return function(*args, **kwargs)

        return watched


def _watched() -> Iterator[tuple[Any, str, str]]:
    """Where a function is found, its name there, and what its calls are named."""
    for place, names in FUNCTIONS.items():
        owner = _find(place)
        for name, label in names.items():
            if hasattr(owner, name):
                yield owner, name, label
    for place, module in list(sys.modules.items()):
        if place.startswith("transformers.models.") and ".modeling_" in place:
            found = vars(module)
            yield from ((module, name, MODELING[name]) for name in MODELING if name in found)


def _find(place: str) -> Any:
    """A module, or a class of one; None where there is none."""
    if place.startswith("transformers") and "transformers" not in sys.modules:
        return None
    with contextlib.suppress(ImportError):
        return importlib.import_module(place)
    module, _, name = place.rpartition(".")
    return getattr(sys.modules.get(module), name, None)
