"""Which values are a module's parameters, their gradients, its buffers, an optimizer's state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any
from weakref import WeakSet

import attrs
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from genie_core import _native
from genie_plugins.semantics.origin import roots

Value = tuple[int, int]
"""A device's index and the number of a value on it."""


@attrs.frozen
class Owner:
    """What a value is to a module: its role, its qualified name, and the module that has it."""

    role: str
    name: str = ""
    module: str | None = None
    module_type: str = ""
    root: str = ""


Owners = dict[Value, list[Owner]]

_optimizers: WeakSet[torch.optim.Optimizer] = WeakSet()
_lock = threading.Lock()
_watching = False


def watch_optimizers() -> None:
    """Remember every optimizer that makes a step, for as long as it lives. Idempotent."""
    global _watching
    with _lock:
        if not _watching:
            register_optimizer_step_pre_hook(_note)
            _watching = True


def _note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    _optimizers.add(optimizer)


def value_of(tensor: object) -> Value | None:
    """The value that a tensor lies on; None for what has none on the device."""
    if not isinstance(tensor, torch.Tensor):
        return None
    try:
        number = _native.value_id(tensor)
    except RuntimeError:  # a fake tensor
        return None
    return (tensor.get_device(), number) if number else None


def find_owners(wanted: AbstractSet[Value]) -> Owners:
    """The owners of those values, among the modules and optimizers that live; the best come first.

    A module that is called by itself and within another goes by its name in the larger.
    """
    found = _Search(wanted)
    trees = [(type(root).__name__, modules_of(root)) for root in roots()]
    for kind, modules in sorted(trees, key=lambda tree: -len(tree[1])):
        for path, module in modules:
            found.visit_module(module, (path, type(module).__name__, kind))
    for optimizer in list(_optimizers):
        for parameter, state in list(optimizer.state.items()):
            found.visit_state(parameter, state)
    return found.owners


def modules_of(root: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """What `root.named_modules()` gives, in a third of the time."""
    found: dict[int, tuple[str, torch.nn.Module]] = {}
    left = [("", root)]
    while left:
        path, module = left.pop()
        if id(module) not in found:
            found[id(module)] = (path, module)
            within = f"{path}." if path else ""
            children = vars(module).get("_modules", {}).items()
            left += [(within + name, child) for name, child in children if child is not None][::-1]
    return list(found.values())


_Place = tuple[str | None, str, str]
"""A module's path, its type, its root's type."""


class _Search:
    """Looks at very many tensors, few of which are wanted."""

    def __init__(self, wanted: AbstractSet[Value]) -> None:
        self.owners: Owners = {}
        self._wanted = wanted
        self._places: dict[int, tuple[str, _Place]] = {}  # name and module, by id of the parameter

    def visit_module(self, module: torch.nn.Module, place: _Place) -> None:
        """Its own parameters, gradients and buffers."""
        own = vars(module)  # `named_parameters` takes much longer
        if parameters := own.get("_parameters"):
            for name, parameter in list(parameters.items()):
                if parameter is not None:
                    self._places.setdefault(id(parameter), (name, place))
                    self._add("weight", name, place, parameter)
                    if parameter.is_leaf and parameter.grad is not None:
                        self._add("gradient", name, place, parameter.grad)
        if buffers := own.get("_buffers"):
            for name, buffer in list(buffers.items()):
                self._add("buffer", name, place, buffer)

    def visit_state(self, parameter: torch.Tensor, state: object) -> None:
        """What an optimizer has for a parameter."""
        name, place = self._places.get(id(parameter), ("", (None, "", "")))
        self._add("weight", name, place, parameter)
        for tensor in _tensors(state):
            self._add("optimizer_state", name, place, tensor)

    def _add(self, role: str, name: str, place: _Place, tensor: object) -> None:
        value = value_of(tensor)
        if value is None or value not in self._wanted:
            return
        owner = Owner(role, f"{place[0] or ''}.{name}".lstrip("."), *place)
        known = self.owners.setdefault(value, [])
        if all((owner.role, owner.name) != (other.role, other.name) for other in known):
            known.append(owner)


def _tensors(state: object) -> Iterator[object]:
    if isinstance(state, dict):
        for item in list(state.values()):
            yield from _tensors(item)
    elif isinstance(state, list | tuple):
        for item in state:
            yield from _tensors(item)
    else:
        yield state
