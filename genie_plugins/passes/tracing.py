"""What a function of tensors does, in ATen ops, for tensors that lie in a certain way.

`make_fx(pre_dispatch=True)` is private in torch 2.1 and later; the functions that have kernels of
their own on each device, such as attention, stay whole in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import attrs
import torch
import torch.fx
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from genie_core.apart import apart
from genie_core.graph import Geometry


@attrs.frozen
class Unsuitable(Exception):
    """Why a function cannot stand for a match, which then stays as it is."""

    reason: str


class _Mode(FakeTensorMode):
    """There is nothing to infer of ops that return nothing, and some have no meta kernel."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare torch (2.6 and newer) the second that its import of Dynamo takes."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func._schema.returns:
            return None
        return super().__torch_dispatch__(func, types, args, kwargs)


@lru_cache(1024)
def trace(
    function: Callable[..., Any],
    names: tuple[str, ...],
    arguments: tuple[Any, ...],
    *,
    whole_ops: bool = True,
) -> torch.fx.Graph:
    """Trace `function`; arguments are geometries, tuples of them for lists of tensors, or numbers.

    `whole_ops`: composite ops stay, rather than become those that the recorder sees. Each node's
    `meta["val"]` is a fake tensor. Placeholders are the tensors, in order.
    """
    mode = _Mode()
    flat = [geometry for argument in arguments for geometry in _geometries(argument)]

    def call(*tensors: torch.Tensor) -> Any:
        given = iter(tensors)
        values = [_filled(argument, given) for argument in arguments]
        return function(**dict(zip(names, values, strict=True)))

    def traced() -> torch.fx.Graph:
        with mode, torch.no_grad():
            fakes = [_fake(geometry) for geometry in flat]
            graph: torch.fx.Graph = make_fx(call, pre_dispatch=whole_ops)(*fakes).graph
        return graph

    return apart(traced)


def _geometries(argument: Any) -> tuple[Geometry, ...]:
    if isinstance(argument, Geometry):
        return (argument,)
    return argument if _is_list(argument) else ()


def _is_list(argument: Any) -> bool:
    """Whether an argument stands for a list of tensors."""
    return isinstance(argument, tuple) and all(isinstance(one, Geometry) for one in argument)


def _filled(argument: Any, tensors: Any) -> Any:
    if isinstance(argument, Geometry):
        return next(tensors)
    return [next(tensors) for _ in argument] if _is_list(argument) else argument


def _fake(geometry: Geometry) -> torch.Tensor:
    last = sum((n - 1) * s for n, s in zip(geometry.size, geometry.stride, strict=True))
    base = torch.empty(geometry.offset + last + 1, dtype=geometry.dtype)
    return base.as_strided(geometry.size, geometry.stride, geometry.offset)


def geometry_of(value: Any) -> Geometry:
    """How a traced tensor lies. Raises `Unsuitable` for what is none."""
    if not isinstance(value, FakeTensor) or value.is_conj() or value.is_neg():
        raise Unsuitable("it makes something else than plain tensors")
    return Geometry(value.dtype, tuple(value.size()), tuple(value.stride()), value.storage_offset())


def name_of(target: Any) -> str:
    """An overload's name, as recorded ops have it."""
    schema = target._schema
    return f"{schema.name}.{schema.overload_name}" if schema.overload_name else str(schema.name)


def whole(target: Any, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments as a recorded op has them: each that its schema names."""
    given = {**dict(zip((a.name for a in target._schema.arguments), args, strict=False)), **kwargs}
    every = {a.name: given.get(a.name, a.default_value) for a in target._schema.arguments}
    words = {a.name for a in target._schema.arguments if a.kwarg_only}
    positional = tuple(value for name, value in every.items() if name not in words)
    return positional, {name: every[name] for name in every if name in words}
