"""A trace as a plain `torch.fx` graph: what passes, patterns and people look at.

Each value that a trace touches is a placeholder, each op a call to its ATen overload. Where an op
saw a tensor otherwise than its maker gave it, a call to :func:`strided_view` says how it lies on
the same storage. Lifted literals are placeholders of numbers. The graph runs on real tensors.
"""

from __future__ import annotations

import operator as _operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import attrs
import torch
import torch.fx

from genie_core import _native, compat
from genie_core.context import Context, contexts
from genie_core.origin import origins


@attrs.frozen
class Geometry:
    """How a tensor lies on its storage, in elements; lifted numbers are FX nodes."""

    dtype: torch.dtype
    size: tuple[Any, ...]
    stride: tuple[Any, ...]
    offset: Any = 0
    flags: int = 0


@attrs.frozen
class Semantics:
    """What Genie knows of a node, at ``node.meta["genie"]``; empty is unknown."""

    origin: str = ""
    """Place in the user's code that recorded it first; of a backward's node, its forward op's.
    "as at PLACE" where that is of a program that went alike, and its own was not asked for."""
    module: str | None = None
    """Qualified name, below `root`, of the module that it belongs to; None outside of any."""
    module_type: str = ""
    root: str = ""
    """Type of the outermost module that was being called."""
    phase: str = ""
    """What it was done for: forward, backward, optimizer, eval, prefill, decode."""
    role: str = ""
    """What its result is: weight, buffer, activation, gradient, optimizer_state, kv_cache, input,
    embedding, logits."""
    residency: str = ""
    """How long its result is of use: pinned (for many runs), streamed (new each run), transient."""
    modality: str = ""
    """What its result represents: text, vision, audio, recommendation; fusion of several."""
    parameters: tuple[str, ...] = ()
    """Qualified names of the parameters whose weights, gradients or state it computes or is."""
    annotations: tuple[Any, ...] = ()
    """The user's, outermost first: see `genie_core.annotate`."""
    patterns: tuple[str, ...] = ()
    """Instances of patterns that it is part of, innermost first: "name#k", k counts a graph's."""
    forward: tuple[int, int] | None = None
    """Of a backward's node: program, and index in it, of the op that it differentiates."""

    @property
    def place(self) -> str:
        """The place alone, without what is said of one that was not asked for."""
        return self.origin.removeprefix("as at ").partition(", before ")[0]

    @property
    def where(self) -> str:
        """Place, module and whether it is of the backward, for an error's message."""
        if self.module is None:
            return self.origin
        path = f"{self.root}.{self.module}".rstrip(".")
        return f"{self.origin} ({path}{', backward' if self.forward else ''})"


@attrs.frozen
class Mark:
    """What the recorder noted of an op's first sight, at ``node.meta["mark"]``."""

    context: Context
    in_backward: bool
    forward: tuple[int, int] | None
    """Program, and index in it, of the op that it differentiates."""
    source: Semantics | None
    """What that op means, if it is of an earlier program; None for one of the same program."""
    origin: Any
    """What the hook `genie_origin` said, else the place."""
    borrowed: bool
    """The origin is that of a program that goes alike, perhaps at another line."""


@lru_cache(None)
def operator(name: str) -> Any:
    """The overload ``namespace::name.overload`` stands for."""
    space, _, rest = name.partition("::")
    base, _, overload = rest.partition(".")
    return getattr(getattr(getattr(torch.ops, space), base), overload or "default")


@lru_cache(None)
def parameters(name: str) -> tuple[tuple[str, bool, str], ...]:
    """Name, whether keyword-only, and declared type of each argument of an overload."""
    return tuple(
        (argument.name, bool(argument.kwarg_only), compat.real_type(argument))
        for argument in operator(name)._schema.arguments
    )


@lru_cache(None)
def written_arguments(name: str) -> tuple[int | str, ...]:
    """Which arguments an op writes: positions, or names of those that go by keyword only."""
    if name == "aten::_copy_from":
        return (1,)
    if name in STEPS:
        return _STEP_WRITES.get(name, (0,))
    return tuple(
        argument.name if argument.kwarg_only else position
        for position, argument in enumerate(operator(name)._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


# Running statistics, which schemas keep silent about; the sixth argument is `training`.
_NORMS = ("batch_norm", "_batch_norm_impl_index", "native_batch_norm")
_UNDECLARED: dict[str, tuple[int | str, ...]] = {
    f"aten::{name}": (3, 4) for name in (*_NORMS, "cudnn_batch_norm", "miopen_batch_norm")
}


def reads(node: torch.fx.Node) -> list[int]:
    """The slots of the values that a recorded op takes."""
    return _slots(node.all_input_nodes)


def writes(node: torch.fx.Node) -> list[int]:
    """The slots of the values that a recorded op makes or writes to."""
    slots = [output[1] for output in node.meta["outputs"] if output[0] == 0]
    name = node.meta["op"]
    keys = written_arguments(name)
    if name in _UNDECLARED and node.args[5] is not False:
        keys = _UNDECLARED[name]
    for key in keys:
        found = (
            node.kwargs.get(key) if isinstance(key, str) else dict(enumerate(node.args)).get(key)
        )
        items: Any = found if isinstance(found, list | tuple) else [found]
        slots += _slots([item for item in items if isinstance(item, torch.fx.Node)])
    return list(dict.fromkeys(slots))


def _slots(nodes: list[torch.fx.Node]) -> list[int]:
    return list(dict.fromkeys(node.meta["slot"] for node in nodes if "slot" in node.meta))


# Steps that are no ATen ops. They are what the executor's replay does natively. -----------------


def strided_view(
    base: torch.Tensor, dtype: torch.dtype, size: Any, stride: Any, offset: int, flags: int
) -> torch.Tensor:
    """Another tensor over the storage of `base`."""
    view = torch.empty(0, dtype=dtype, device=base.device)
    view.set_(base.untyped_storage(), offset, size, stride)
    if flags & 1:
        view = torch.conj(view)
    return torch._neg_view(view) if flags & 2 else view


def alloc(nbytes: int) -> torch.Tensor:
    """A new storage, as bytes."""
    return torch.empty(nbytes, dtype=torch.uint8)


def resize(base: torch.Tensor, nbytes: int) -> None:
    """Grow or shrink the storage of `base` where it is."""
    base.untyped_storage().resize_(nbytes)


def make_generator(seed: int) -> torch.Generator:
    """A generator of the executor's device."""
    return torch.Generator().manual_seed(seed)


def seed(generator: torch.Generator, value: int) -> None:
    """Seed a generator."""
    generator.manual_seed(value)


def set_state(generator: torch.Generator, nbytes: int, state: torch.Tensor) -> None:
    """Put a state back into a generator."""
    generator.set_state(strided_view(state, torch.uint8, (nbytes,), (1,), 0, 0))


def get_state(generator: torch.Generator) -> torch.Tensor:
    """The state of a generator, as bytes."""
    return generator.get_state()


def host_scalar(dtype: torch.dtype, wrapped: bool, low: int, high: int) -> torch.Tensor:
    """A 0-dim CPU tensor given by the bits of its content."""
    words = torch.tensor([low, high])
    tensor = words.view(torch.uint8)[: dtype.itemsize].view(dtype).reshape(())
    return tensor * 1 if wrapped else tensor


def complex_number(real: float, imaginary: float) -> complex:
    """A complex literal; its parts may be lifted."""
    return complex(real, imaginary)


def append(parts: list[torch.Tensor], dim: int) -> torch.Tensor:
    """`cat`; the executor may write behind the first part, where nobody else wants that."""
    return torch.cat(parts, dim)


def return_values(values: list[torch.Tensor]) -> list[torch.Tensor]:
    """What a region gives: its last step."""
    return values


STEPS: dict[str, Callable[..., Any]] = {
    f"genie::{step.__name__}": step
    for step in (alloc, resize, make_generator, seed, set_state, get_state, append, return_values)
}


CONTROL = ("genie::cond", "genie::while_loop", "genie::repeat")
"""Steps that run regions: branches and bodies, which are programs by themselves and end with
`return_values`. A region is an argument ``[name, inputs, symbols]``; an input is a whole value,
or the number of what an iteration is given. The last argument lists the values written to."""

_STEP_WRITES: dict[str, tuple[int | str, ...]] = {
    "genie::append": (),
    "genie::return_values": (),
    **dict(zip(CONTROL, ((3,), (4,), (4,)), strict=True)),
}


LAYOUTS = (torch.strided, torch.sparse_coo, torch.sparse_csr)
FORMATS = (
    torch.contiguous_format,
    torch.preserve_format,
    torch.channels_last,
    torch.channels_last_3d,
)


def enum_value(kind: str, code: int) -> Any:
    """What a number stands for where an argument of this declared type may be an enumeration."""
    if "Layout" in kind:
        return LAYOUTS[code]
    return FORMATS[code] if "MemoryFormat" in kind else _native.dtype_of(code)


@lru_cache(None)
def _gives_one_tensor(target: Any) -> bool:
    if target in STEPS.values():
        return target not in [STEPS.get(name) for name in CONTROL]
    returns = target._schema.returns
    return len(returns) == 1 and str(returns[0].type) == "Tensor"


_BORROWED = 1 << 31  # as in native/program/program.h


class GraphBuilder:
    """Builds the graph of a device's sealed trace; `recall` knows the ops of earlier programs."""

    def __init__(
        self, device: int, sealed: _native.Sealed, recall: Callable[[int, int], Semantics]
    ) -> None:
        self._graph = torch.fx.Graph()
        self._sealed = sealed
        self._recall = recall
        self._values = {slot: ((device, id_), up) for slot, id_, up in sealed.values}
        self._slots: dict[int, torch.fx.Node] = {}
        self._views: dict[tuple[Any, ...], torch.fx.Node] = {}
        self._symbols: dict[int, torch.fx.Node] = {}
        self._last_placeholder = self._graph._root

    def build(self) -> torch.fx.Graph:
        """Return the graph, each op's node marked with its slots and its `Semantics`.

        ``meta["value"]`` is the device and the number, as `_native.value_id` has it, of a value
        that the first run binds or keeps; ``meta["uploaded"]``: did its bytes come from the host.
        """
        for step in self._sealed.export_ops():
            self._op(*step)
        kept = tuple(self._slots[slot] for slot in self._sealed.kept)
        self._graph.output(kept)
        return self._graph

    def _placeholder(self, name: str) -> torch.fx.Node:
        with self._graph.inserting_after(self._last_placeholder):
            self._last_placeholder = self._graph.placeholder(name)
        return self._last_placeholder

    def _number(self, number: Any) -> Any:
        return number if isinstance(number, int) else self._symbol(*number)

    def _symbol(self, symbol: int, value: int = 0) -> torch.fx.Node:
        if symbol not in self._symbols:
            node = self._placeholder(f"s{symbol}")
            node.meta["symbol"], node.meta["example"] = symbol, value
            self._symbols[symbol] = node
        return self._symbols[symbol]

    def _geometry(self, dtype: int, flags: int, numbers: list[Any]) -> Geometry:
        offset, *rest = (self._number(number) for number in numbers)
        rank = len(rest) // 2
        size, stride = tuple(rest[:rank]), tuple(rest[rank:])
        return Geometry(_native.dtype_of(dtype), size, stride, offset, flags)

    def _slot(self, slot: int, geometry: Geometry | None = None) -> torch.fx.Node:
        node = self._slots.get(slot)
        if node is None:
            node = self._slots[slot] = self._placeholder(f"v{slot}")
            node.meta["slot"], node.meta["geometry"] = slot, geometry
            node.meta["value"], node.meta["uploaded"] = self._values.get(slot, (None, False))
        return node

    def _tensor(self, slot: int, dtype: int, flags: int, numbers: list[Any]) -> torch.fx.Node:
        geometry = self._geometry(dtype, flags, numbers)
        base = self._slot(slot, geometry)
        if base.meta["geometry"] == geometry:
            return base
        key = (slot, geometry)
        if key not in self._views:
            g = geometry
            node = self._graph.call_function(
                strided_view, (base, g.dtype, g.size, g.stride, g.offset, g.flags)
            )
            node.meta["slot"], node.meta["geometry"] = slot, geometry
            self._views[key] = node
        return self._views[key]

    def _arg(self, arg: tuple[Any, ...], kind: str) -> Any:  # noqa: C901 (a line for each kind)
        match arg:
            case (0,) | (13, _):
                return None
            case (1, slot, dtype, flags, numbers):
                return self._tensor(slot, dtype, flags, numbers)
            case (2, slot):
                return self._slot(slot)
            case (3, code, True):
                return enum_value(kind, code)
            case (4, symbol, value):
                return self._symbol(symbol, value)
            case (6, symbol):
                node = self._symbol(symbol)
                node.meta["real"] = True
                return node
            case (9, items):
                return [self._arg(item, kind) for item in items]
            case (10,):
                return torch.device(compat.NAME)
            case (11, words, dtype, wrapped):
                low, high = (self._arg(word, kind) for word in words)
                content = (_native.dtype_of(dtype), wrapped, low, high)
                return self._graph.call_function(host_scalar, content)
            case (12, parts):
                values = tuple(self._arg(part, kind) for part in parts)
                return self._graph.call_function(complex_number, values)
            case (_, value):
                return value
        raise AssertionError(f"unknown argument {arg}")

    def _op(
        self,
        name: str,
        args: list[Any],
        outputs: list[tuple[Any, ...]],
        origin: int,
        modes: int,
        noted: tuple[int, bool, tuple[int, int] | None],
    ) -> None:
        implicit = [arg[1] for arg in args if arg[0] == 13]
        args = [arg for arg in args if arg[0] != 13]
        node = self._call(name, args)
        node.meta["op"] = name
        node.meta["mark"] = mark = self._mark(origin, *noted)
        node.meta["genie"] = Semantics(f"{'as at ' if mark.borrowed else ''}{mark.origin}")
        node.meta["modes"] = modes
        node.meta["outputs"] = [self._output(node, i, out) for i, out in enumerate(outputs)]
        if implicit:
            node.meta["generator"] = self._slot(implicit[0])

    def _mark(
        self, origin: int, context: int, in_backward: bool, forward: tuple[int, int] | None
    ) -> Mark:
        earlier = forward if forward and forward[0] != self._sealed.program else None
        source = self._recall(*earlier) if earlier else None
        told = origins.value(origin & ~_BORROWED)
        borrowed = bool(origin & _BORROWED)
        return Mark(contexts.value(context), in_backward, forward, source, told, borrowed)

    def _call(self, name: str, args: list[Any]) -> torch.fx.Node:
        if name in STEPS:
            return self._graph.call_function(STEPS[name], tuple(self._arg(a, "") for a in args))
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for (keyword, keyword_only, kind), arg in zip(parameters(name), args, strict=True):
            value = self._arg(arg, kind)
            if keyword_only:
                keywords[keyword] = value
            else:
                positional.append(value)
        return self._graph.call_function(operator(name), tuple(positional), keywords)

    def _output(self, node: torch.fx.Node, index: int, output: tuple[Any, ...]) -> tuple[Any, ...]:
        if output[0] != 0:
            return (output[0],)
        _, slot, dtype, flags, numbers = output
        geometry = self._geometry(dtype, flags, numbers)
        if not _gives_one_tensor(node.target):
            node = self._graph.call_function(_operator.getitem, (node, index))
        node.meta["slot"] = slot
        if slot in self._values:
            node.meta["value"] = self._values[slot][0]
        node.meta["geometry"] = None if node.target is make_generator else geometry
        self._slots[slot] = node
        return (0, slot, geometry)
