"""A program as it came over the wire, as a graph that Inductor takes."""

from __future__ import annotations

import operator as _operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch
import torch.fx

from genie_core import _native
from genie_core.graph import enum_value, host_scalar, operator, parameters

if TYPE_CHECKING:
    from genie_core.protocol import ProgramCode

Node = torch.fx.Node


class Unsuitable(Exception):
    """Why a program is not compiled."""


@attrs.frozen
class Lying:
    """How a tensor lies on its slot's storage, in elements."""

    slot: int
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int

    @property
    def extent(self) -> int:
        """Elements from the storage's start to its last."""
        if 0 in self.size:
            return 0
        last = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        return self.offset + last + 1

    @property
    def is_plain(self) -> bool:
        """Whether it is contiguous, from the start."""
        return self.offset == 0 and self.stride == plain_stride(self.size)

    def fake(self, device: str) -> torch.Tensor:
        """A tensor that lies so; to be called with a fake mode on."""
        whole = torch.empty(self.extent, dtype=self.dtype, device=device)
        return whole.as_strided(self.size, self.stride, self.offset)


@attrs.frozen
class Translated:
    """A graph of the `inputs`, then of those that are `written` to, which gives `outputs`.

    All are indices of the program's tensors.
    """

    graph: torch.fx.GraphModule
    inputs: list[int]
    written: list[int]
    outputs: list[int]


def plain_stride(size: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a contiguous tensor."""
    strides = [1]
    for n in reversed(size[1:]):
        strides.append(strides[-1] * max(n, 1))
    return tuple(reversed(strides)) if size else ()


def lying(code: ProgramCode, index: int) -> Lying:
    """A program's tensor. Raises `Unsuitable` for one that no plain tensor is."""
    slot, dtype, flags, (offset, *rest), lifted = code.tensors[index]
    if flags & 3 or lifted:
        raise Unsuitable("a tensor is conjugated, negated or of varying size")
    rank = len(rest) // 2
    return Lying(slot, _native.dtype_of(dtype), tuple(rest[:rank]), tuple(rest[rank:]), offset)


def translate(code: ProgramCode, device: str) -> Translated:
    """Make a graph of a program. Raises `Unsuitable`."""
    if code.tail or code.symbols:
        raise Unsuitable("it asks for sizes" if code.tail else "it has numbers that vary")
    return _Translator(code, device).run()


class _Translator:
    def __init__(self, code: ProgramCode, device: str) -> None:
        self._code = code
        self._device = torch.device(device)
        self._graph = torch.fx.Graph()
        self._module = torch.nn.Module()
        self._bases: dict[int, tuple[Node, int]] = {}
        self._views: dict[int, Node] = {}
        self._seen: dict[int, list[int]] = {}
        self._inputs: list[int] = []
        self._written: dict[int, None] = {}
        self._made: dict[int, int] = {}

    def run(self) -> Translated:
        for name, args, outputs, *modes in self._code.ops:
            if modes:
                raise Unsuitable("it ran under other modes")
            self._note(args)
            self._note_outputs(outputs)
            _check(name)
        self._make_inputs()
        for name, args, outputs in self._code.ops:
            self._op(name, args, outputs)
        wanted = [self._made[slot] for slot in self._code.kept]
        written = [self._bases[slot][1] for slot in self._written if slot not in self._made]
        self._graph.output(tuple(self._tensor(index) for index in wanted))
        inputs = [index for index in self._inputs if index not in written]
        self._order(inputs, written)
        return Translated(torch.fx.GraphModule(self._module, self._graph), inputs, written, wanted)

    # Inputs ----------------------------------------------------------------------------------

    def _note(self, args: list[Any]) -> None:
        for index in _tensors(args):
            self._seen.setdefault(lying(self._code, index).slot, []).append(index)

    def _note_outputs(self, outputs: list[Any]) -> None:
        for output in outputs:
            if output[0] == 0:
                self._made.setdefault(output[1], output[2])

    def _make_inputs(self) -> None:
        for slot, indices in self._seen.items():
            if slot not in self._made:
                base = max(indices, key=self._suits)
                node = self._graph.placeholder(f"v{slot}")
                self._bases[slot] = (node, base)
                self._inputs.append(base)

    def _suits(self, index: int) -> tuple[bool, int]:
        """Whether a tensor does well as the one that others are views of."""
        one = lying(self._code, index)
        return one.is_plain, one.extent

    def _order(self, inputs: list[int], written: list[int]) -> None:
        """Placeholders come as the operator gives tensors: those that are written to at the end."""
        nodes = {index: node for node, index in self._bases.values() if node.op == "placeholder"}
        first = next(iter(self._graph.nodes))
        for index in [*inputs, *written]:
            if nodes[index] is not first:
                first.prepend(nodes[index])
            else:
                first = first.next

    # Ops -------------------------------------------------------------------------------------

    def _op(self, name: str, args: list[Any], outputs: list[Any]) -> None:
        if name == "genie::alloc":
            return self._alloc(args, outputs)
        target = operator(name)
        positional, keywords = [], {}
        for (keyword, only, kind), written, arg in zip(
            parameters(name), _writes(target), args, strict=True
        ):
            value = self._value(arg, kind)
            if written:
                self._written.update((lying(self._code, i).slot, None) for i in _tensors([arg]))
            if only:
                keywords[keyword] = value
            else:
                positional.append(value)
        node = self._graph.call_function(target, tuple(positional), keywords)
        self._take(node, target, outputs)
        return None

    def _take(self, node: Node, target: Any, outputs: list[Any]) -> None:
        returns = target._schema.returns
        single = len(returns) == 1 and str(returns[0].type) == "Tensor"
        if len(returns) > 1 and any(str(one.type) != "Tensor" for one in returns):
            raise Unsuitable(f"{target} gives lists")
        for position, output in enumerate(outputs):
            if output[0] != 0:
                continue
            part = (
                node if single else self._graph.call_function(_operator.getitem, (node, position))
            )
            self._settle(part, output[2])

    def _settle(self, node: Node, index: int) -> None:
        node.meta["lying"] = lying(self._code, index)
        self._bases[node.meta["lying"].slot] = (node, index)
        self._views[index] = node

    def _alloc(self, args: list[Any], outputs: list[Any]) -> None:
        """New memory, as whatever most of its users see in it."""
        ((_, slot, _),) = outputs
        seen = self._seen.get(slot, [])
        if not seen:
            raise Unsuitable("it makes memory that nobody uses")
        base = max(seen, key=self._suits)
        one = lying(self._code, base)
        if not one.is_plain or one.extent * one.dtype.itemsize != args[0][1]:
            raise Unsuitable("it makes memory of several uses")
        make = torch.ops.aten.empty.memory_format
        options: dict[str, Any] = {"dtype": one.dtype, "device": self._device}
        node = self._graph.call_function(make, (list(one.size),), options)
        self._made[slot] = base
        self._settle(node, base)

    # Arguments -------------------------------------------------------------------------------

    def _value(self, arg: list[Any], kind: str) -> Any:
        match arg:
            case [0]:
                return None
            case [1, index]:
                return self._tensor(index)
            case [3, number]:
                return enum_value(kind, number) if _is_enum(kind) else number
            case [5 | 7 | 8, value]:
                return value
            case [9, items]:
                return [self._value(item, kind) for item in items]
            case [10]:
                return self._device
            case [11, [[_, low], [_, high]], dtype, wrapped]:
                return self._scalar(
                    host_scalar(_native.dtype_of(dtype), wrapped, low, high), wrapped
                )
        raise Unsuitable("it draws random numbers, or has a complex one")

    def _scalar(self, scalar: torch.Tensor, wrapped: bool) -> Any:
        if wrapped:
            return scalar.item()
        name = f"scalar{sum(1 for _ in self._module.buffers())}"
        self._module.register_buffer(name, scalar)
        return self._graph.get_attr(name)

    def _tensor(self, index: int) -> Node:
        one = lying(self._code, index)
        base, known = self._bases[one.slot]
        if known == index or lying(self._code, known) == one:
            return base
        if index not in self._views:
            self._views[index] = self._view(base, lying(self._code, known), one)
        return self._views[index]

    def _view(self, base: Node, known: Lying, one: Lying) -> Node:
        if known.dtype != one.dtype:
            raise Unsuitable("one storage holds several dtypes")
        call, aten = self._graph.call_function, torch.ops.aten
        if known.is_plain and one.is_plain and known.extent == one.extent:
            return call(aten.view.default, (base, list(one.size)))
        order = sorted(range(len(one.size)), key=lambda dim: -one.stride[dim])
        size = tuple(one.size[dim] for dim in order)
        turned = Lying(
            one.slot, one.dtype, size, tuple(one.stride[dim] for dim in order), one.offset
        )
        if known.is_plain and turned.is_plain and known.extent == turned.extent:
            whole = base if size == known.size else call(aten.view.default, (base, list(size)))
            return call(
                aten.permute.default, (whole, [order.index(dim) for dim in range(len(order))])
            )
        return call(aten.as_strided.default, (base, list(one.size), list(one.stride), one.offset))


def _writes(target: Any) -> list[bool]:
    return [
        argument.alias_info is not None and argument.alias_info.is_write
        for argument in target._schema.arguments
    ]


def _is_enum(kind: str) -> bool:
    return any(name in kind for name in ("ScalarType", "Layout", "MemoryFormat"))


def _check(name: str) -> None:
    if not name.startswith("aten::") and name != "genie::alloc":
        raise Unsuitable(f"it has {name}")


def _tensors(args: list[Any]) -> Iterator[int]:
    for arg in args:
        if arg[0] == 1:
            yield arg[1]
        elif arg[0] == 9:
            yield from _tensors(arg[1])
