"""Writes a traced function into a program, in the place of a match."""

from __future__ import annotations

import operator as _operator
import struct
from itertools import count
from typing import TYPE_CHECKING, Any

import attrs
import torch
import torch.fx

from genie_core.graph import Geometry, host_scalar, strided_view
from genie_plugins.passes.dead import erase
from genie_plugins.passes.tracing import Unsuitable, geometry_of, name_of, whole

if TYPE_CHECKING:
    from genie_plugins.passes.lifted import Lifted
    from genie_plugins.passes.replace import Place

Node = torch.fx.Node


@attrs.frozen
class Traces:
    """The same function's ops for tensors as they are, and as they might be."""

    one: torch.fx.Graph
    other: torch.fx.Graph
    lifted: Lifted

    def pairs(self) -> list[tuple[Node, Node]]:
        """Node by node. Raises `Unsuitable` where the size decides what is done."""
        ones, others = list(self.one.nodes), list(self.other.nodes)
        if [node.target for node in ones] != [node.target for node in others]:
            raise Unsuitable("what it does depends on a number that varies")
        return list(zip(ones, others, strict=True))


class Writer:
    """Writes a traced function's ops in front of a match's last op, whose place they take."""

    def __init__(
        self, graph: torch.fx.Graph, place: Place, traces: Traces, tensors: list[Node]
    ) -> None:
        self._graph = graph
        self._place = place
        self._tensors = tensors
        self._lifted = traces.lifted
        self._pairs = traces.pairs()
        self._twins = dict(self._pairs)
        self._last = place.ops[-1]
        top = max((node.meta["slot"] for node in graph.nodes if "slot" in node.meta), default=0)
        self._fresh = count(top + 1)
        self._nodes: dict[Node, Node] = {}
        self._storages: dict[int, Node] = {}

    def write(self) -> None:
        """Write them. Raises `Unsuitable` before anything has changed."""
        outputs = self._results()
        plan = self._plan()
        for placeholder, node in zip(self._placeholders(), self._tensors, strict=True):
            self._nodes[placeholder] = given = self._lifted_number(node)
            self._storages.setdefault(_storage(placeholder), given)
        with self._graph.inserting_before(self._last):
            for node, (args, kwargs, made) in plan.items():
                self._nodes[node] = self._write(node, args, kwargs, made)
        self._hand_over(outputs)

    def _placeholders(self) -> list[Node]:
        return [node for node, _ in self._pairs if node.op == "placeholder"]

    def _lifted_number(self, node: Node) -> Node:
        """A tensor of a lifted number's bits; tensors as they are."""
        if "symbol" not in node.meta:
            return node
        with self._graph.inserting_before(next(iter(self._graph.nodes))):
            bits = self._graph.placeholder(f"{node.name}_bits")
        bits.meta = {key: value for key, value in node.meta.items() if key != "real"}
        with self._graph.inserting_before(self._last):
            return self._graph.call_function(host_scalar, (torch.float64, False, bits, 0))

    def _plan(self) -> dict[Node, tuple[Any, Any, list[Geometry]]]:
        """What each node is called with and makes, as numbers of the graph."""
        plan = {}
        writable = self._writable()
        for node, twin in self._pairs:
            if node.op != "call_function":
                continue
            if node.target is not _operator.getitem:
                _check(node, writable)
            args, kwargs = self._merged((node.args, node.kwargs), (twin.args, twin.kwargs))
            made = self._lifted.merged(_results_of(node), _results_of(twin))
            plan[node] = (args, kwargs, made)
        return plan

    def _writable(self) -> set[Node]:
        """The placeholders of inputs that may be written to."""
        slots = self._place.written
        pairs = zip(self._placeholders(), self._tensors, strict=True)
        return {placeholder for placeholder, node in pairs if node.meta.get("slot") in slots}

    def _merged(self, one: Any, other: Any) -> Any:
        if isinstance(one, Node):
            return one
        if isinstance(one, dict):
            return {key: self._merged(value, other[key]) for key, value in one.items()}
        if isinstance(one, list | tuple):
            return type(one)(self._merged(*pair) for pair in zip(one, other, strict=True))
        return self._lifted.merged(one, other)

    def _results(self) -> list[Node]:
        """The nodes that give the results. Raises `Unsuitable` unless they are those wanted."""
        (told,) = next(node for node, _ in reversed(self._pairs) if node.op == "output").args
        found: Any = list(told) if isinstance(told, list | tuple) else [told]
        if told is None:
            found = []
        if len(found) != len(self._place.outputs) or len(set(found)) != len(found):
            raise Unsuitable("it gives another number of results")
        for result, wanted in zip(found, self._place.outputs, strict=True):
            ours = self._geometry(result)
            if (ours.dtype, ours.size) != _kind(wanted.meta["geometry"]):
                raise Unsuitable("its results have another size or dtype")
        return list(found)

    def _geometry(self, node: Node) -> Geometry:
        twin = self._twins[node]
        both = geometry_of(node.meta["val"]), geometry_of(twin.meta["val"])
        merged: Geometry = self._lifted.merged(*both)
        return merged

    def _write(self, node: Node, args: Any, kwargs: Any, made: list[Geometry]) -> Node:
        value = node.meta.get("val")
        if node.target is _operator.getitem:
            return self._part(self._nodes[args[0]], args[1], value)
        base = self._storages.get(_storage(node)) if isinstance(value, torch.Tensor) else None
        if base is not None:
            return self._view(base, made[0])
        mapped = torch.fx.node.map_arg((args, kwargs), lambda n: self._nodes.get(n, n))
        call = self._call(node.target, *whole(node.target, *mapped), made)
        if isinstance(value, torch.Tensor):
            self._storages[_storage(node)] = call
        return call

    def _call(self, target: Any, args: Any, kwargs: Any, made: list[Geometry]) -> Node:
        kinds = [str(argument.type) for argument in target._schema.arguments]
        args = tuple(self._tensor(*pair) for pair in zip(args, kinds, strict=False))
        call = self._graph.call_function(target, args, kwargs)
        outputs = [(0, next(self._fresh), geometry) for geometry in made]
        call.meta = {key: self._last.meta[key] for key in ("mark", "genie", "modes", "index")}
        call.meta |= {"op": name_of(target), "outputs": outputs}
        if len(outputs) == 1:
            call.meta |= {"slot": outputs[0][1], "geometry": outputs[0][2]}
        return call

    def _tensor(self, value: Any, kind: str) -> Any:
        """A number in a tensor's place is a tensor of no dimension, as it is when recorded."""
        if kind != "Tensor" or not isinstance(value, int | float):
            return value
        dtype = torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else None).dtype
        (bits,) = struct.unpack("<q", struct.pack("<d" if dtype.is_floating_point else "<q", value))
        return self._graph.call_function(host_scalar, (dtype, True, bits, 0))

    def _part(self, call: Node, index: Any, value: Any) -> Node:
        node = self._graph.call_function(_operator.getitem, (call, index))
        _, slot, geometry = call.meta["outputs"][index]
        node.meta = {"slot": slot, "geometry": geometry}
        self._storages.setdefault(value.untyped_storage()._cdata, node)
        return node

    def _view(self, base: Node, g: Geometry) -> Node:
        node = self._graph.call_function(
            strided_view, (base, g.dtype, g.size, g.stride, g.offset, g.flags)
        )
        node.meta = {"slot": base.meta["slot"], "geometry": g}
        return node

    def _hand_over(self, outputs: list[Node]) -> None:
        """Give the results the slots that others know, lying as they did before."""
        for found, wanted in zip(outputs, self._place.outputs, strict=True):
            with self._graph.inserting_before(self._last):
                result = self._settled(self._nodes[found], wanted)
            slot = wanted.meta["slot"]
            _rename(result, slot)
            for view in list(wanted.users):
                if view.target is strided_view or "op" in view.meta or view.op == "output":
                    view.replace_input_with(wanted, result)
        for node in reversed(self._place.ops):
            erase(self._graph, node)

    def _settled(self, result: Node, wanted: Node) -> Node:
        """`result`, or a copy of it that lies as `wanted` does, on a storage of its own."""
        is_op = "op" in result.meta or result.target is _operator.getitem
        if is_op and result.meta["geometry"] == wanted.meta["geometry"]:
            return result
        return self._copied(result, wanted.meta["geometry"])

    def _copied(self, result: Node, g: Geometry) -> Node:
        options = {"memory_format": torch.contiguous_format}
        return self._call(torch.ops.aten.clone.default, (result,), options, [g])


def _kind(geometry: Geometry) -> tuple[torch.dtype, tuple[Any, ...]]:
    return geometry.dtype, geometry.size


def _rename(result: Node, slot: int) -> None:
    """Have the op that makes `result` make it in another slot."""
    maker, index = result.args if result.target is _operator.getitem else (result, 0)
    assert isinstance(maker, Node)
    old = result.meta["slot"]
    outputs = maker.meta["outputs"]
    outputs[index] = (0, slot, outputs[index][2])
    for node in (result, *result.users):
        if node.meta.get("slot") == old:
            node.meta["slot"] = slot


def _storage(node: Node) -> int:
    return int(node.meta["val"].untyped_storage()._cdata)


def _check(node: Node, writable: set[Node]) -> None:
    """Raise `Unsuitable` for what writes to anything else than these, or gives no plain tensors."""
    schema = getattr(node.target, "_schema", None)
    if schema is None or not writable.issuperset(_written(node, schema)):
        raise Unsuitable("it has effects")
    if schema.is_mutable and schema.returns:
        raise Unsuitable("it gives what it writes to")
    _results_of(node)


def _written(node: Node, schema: Any) -> list[Node]:
    args, kwargs = whole(node.target, node.args, node.kwargs)
    positional = iter(args)
    found: list[Node] = []
    for one in schema.arguments:
        value = kwargs[one.name] if one.kwarg_only else next(positional)
        if one.alias_info is not None and one.alias_info.is_write:
            found += value if isinstance(value, list | tuple) else [value]
    return found


def _results_of(node: Node) -> list[Geometry]:
    value = node.meta.get("val")
    if value is None:
        return []  # of an op that returns nothing
    return [geometry_of(each) for each in (value if isinstance(value, list | tuple) else [value])]
