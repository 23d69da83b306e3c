"""Which module is being called, and how, where an op is recorded: read off Python's frames."""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import attrs
import torch

from genie_core.graph import Semantics
from genie_core.origin import place_of

if TYPE_CHECKING:
    from genie_core.graph import Mark

_CALL = torch.nn.Module.__call__.__code__
_CALL_INNER = torch.nn.Module._call_impl.__code__  # noqa: SLF001 (frames are told by their code)
_BACKWARD, _GRAD = torch.autograd.backward.__code__, torch.autograd.grad.__code__
_CACHES = ("past_key_values", "cache_params", "kv_cache", "cache")
_QUERIES = ("decoder_input_ids", "input_ids", "inputs_embeds", "decoder_inputs_embeds")


@attrs.frozen
class Origin:
    """What Python was doing when an op was recorded on new ground."""

    place: str = ""
    """``file:line in function``, the innermost frame outside torch and Genie."""
    module: str | None = None
    """Path, below the outermost module being called, of the innermost; None outside of any."""
    module_type: str = ""
    root: str = ""
    """Type of the outermost module."""
    inference: bool = False
    """No gradients are wanted, and the outermost module is in eval mode."""
    cached: bool = False
    """The outermost module was given a key-value cache."""
    length: int = 0
    """How many tokens it was given a sequence; 0 where that cannot be told."""
    in_backward: bool = False
    """`torch.autograd` itself was at work, before or after its engine."""

    def __str__(self) -> str:
        return Semantics(self.place, self.module, self.module_type, self.root).where


_paths: WeakKeyDictionary[torch.nn.Module, WeakKeyDictionary[torch.nn.Module, str | None]]
_paths = WeakKeyDictionary()


def roots() -> list[torch.nn.Module]:
    """The outermost modules that were being called on new ground, those that still live."""
    return list(_paths)


def origin_of(mark: Mark) -> Origin:
    """The origin that the recorder noted of an op; of one that was noted otherwise, its place."""
    return mark.origin if isinstance(mark.origin, Origin) else Origin(str(mark.origin))


def describe(frame: FrameType | None) -> Origin:
    """The origin of what `frame` and its callers do."""
    place, in_backward = place_of(frame), False
    calls: list[tuple[torch.nn.Module, dict[str, Any]]] = []  # innermost first
    while frame is not None:
        code = frame.f_code
        if _is_call(frame):
            variables = frame.f_locals
            if isinstance(module := variables.get("self"), torch.nn.Module):
                if calls and calls[-1][0] is module:
                    calls.pop()
                calls.append((module, variables))
        in_backward = in_backward or code is _BACKWARD or code is _GRAD
        frame = frame.f_back
    if not calls:
        return Origin(place, in_backward=in_backward)
    return _within([module for module, _ in reversed(calls)], calls[-1][1], place, in_backward)


def _is_call(frame: FrameType) -> bool:
    """Whether it is a module's call, or its `forward` called by other than that.

    Reading a frame's variables keeps them alive until it returns, so few are read.
    """
    code, caller = frame.f_code, frame.f_back
    if code.co_name == "forward":
        return caller is None or caller.f_code is not _CALL_INNER
    return code is _CALL


def _within(
    chain: list[torch.nn.Module], call: dict[str, Any], place: str, in_backward: bool
) -> Origin:
    root = chain[0]
    inference = not (root.training or torch.is_grad_enabled())
    given = call.get("kwargs", call)
    return Origin(
        place,
        _path(chain),
        type(chain[-1]).__name__,
        type(root).__name__,
        inference,
        inference and any(given.get(name) is not None for name in _CACHES),
        _length(given, call.get("args", ())) if inference else 0,
        in_backward,
    )


def _length(given: dict[str, Any], args: tuple[Any, ...]) -> int:
    for value in (*map(given.get, _QUERIES), *args):
        if isinstance(value, torch.Tensor):
            return value.shape[1] if value.dim() > 1 else 0
    return 0


def _path(chain: list[torch.nn.Module]) -> str:
    """The innermost module's qualified name; one that its root does not know goes by its type."""
    root, module = chain[0], chain[-1]
    paths = _paths.setdefault(root, WeakKeyDictionary())
    path = paths.get(module, "?")
    if path is not None and _at(root, path) is not module:
        paths[module] = None
        paths.update((found, name) for name, found in root.named_modules())
        path = paths[module]
    if path is None:
        return f"{_path(chain[:-1])}.{type(module).__name__}".lstrip(".")
    return path


def _at(root: torch.nn.Module, path: str) -> object:
    try:
        return root.get_submodule(path)
    except AttributeError:
        return None
