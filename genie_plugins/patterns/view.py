"""A recorded graph as templates see it: forward ops, functional, in one spelling."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import torch.fx

from genie_core.graph import host_scalar
from genie_plugins.patterns.builder import Builder
from genie_plugins.patterns.memory import Memory, Remembered
from genie_plugins.patterns.ops import OpInfo, info
from genie_plugins.patterns.rules import RULES
from genie_plugins.patterns.step import Step, Value

Node = torch.fx.Node

_STATIC = {"weight", "buffer", "optimizer_state"}
_SKIPPED = {"backward", "optimizer"}


class View:
    """The analysis view of a recorded graph. `updates` are its optimizers' ops, as recorded.

    What an earlier program computed is seen as it was computed there, as long as that is
    remembered. `order` tells positions of recorded ops, those of earlier programs too.
    """

    def __init__(self, graph: torch.fx.Graph, memory: Memory) -> None:
        self._builder = Builder(RULES, memory.next_index)
        self._memory = memory
        self._bases: dict[int, Node] = {}
        self._items: dict[int, tuple[Value, int, Any]] = {}
        self.graph = graph
        self.updates: list[list[Node]] = []
        self.order = memory.positions
        self.begin = memory.next_index
        """Index of its first step; those of earlier views come before."""
        first = memory.next_position
        self._fill(graph)
        self.steps: list[Step] = self._builder.steps
        memory.next_index += len(self.steps)
        self.remembered = Remembered(graph, self.steps, self._kept(graph), first)
        memory.keep(self.remembered)

    def _kept(self, graph: torch.fx.Graph) -> list[Any]:
        """Keep what this program computed for those that read it."""
        values = []
        for node in graph.nodes:
            if "value" in node.meta:
                storage = self._builder.storages.get(node.meta["slot"])
                if storage is not None and (storage.whole.step.name != "leaf" or storage.parts):
                    self._memory.storages[node.meta["value"]] = storage
                    values.append(node.meta["value"])
        return values

    def _fill(self, graph: torch.fx.Graph) -> None:
        in_update = False
        position = self._memory.next_position
        for node in graph.nodes:
            meta = node.meta
            if "op" in meta:
                position += 1
                self.order[node] = position
                phase = meta["genie"].phase
                if phase == "optimizer":
                    if not in_update:
                        self.updates.append([])
                    self.updates[-1].append(node)
                in_update = phase == "optimizer"
                if phase not in _SKIPPED:
                    self._op(node)
            elif "uploaded" in meta:
                self._bases[meta["slot"]] = node
        self._memory.next_position = position + 1

    def _op(self, node: Node) -> None:
        known = info(node.meta["op"])
        outputs = node.meta["outputs"]
        if known.name == "alloc":
            self._builder.alloc(outputs[0][1], node, node.args[0])
            return
        values, extra = self._operands(node, known)
        if known.name in ("copy", "_copy_from"):
            self._copy(node, known, values)
            return
        geometry = next((out[2] for out in outputs if out[0] == 0), None)
        if geometry is None and known.writes:
            geometry = _geometry(_argument(node, known.writes[0]))
        result = self._builder.op(known, values, extra, node, geometry)
        self._leave(node, known, result)

    def _operands(self, node: Node, known: OpInfo) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        numbers = known.arithmetic
        values = [
            v
            for v in map(self._value, node.args)
            if type(v) in (Value, tuple) or (numbers and _is_number(v))
        ]
        extra = []
        for name, argument in node.kwargs.items():
            if type(argument) is Node and "slot" in argument.meta:
                if name != "out":
                    extra.append(self._value(argument))
            elif (name == "alpha" and argument != 1) or (name == "value" and argument != 1):
                values.append(argument)
        return tuple(values), tuple(extra)

    def _value(self, argument: Any) -> Any:
        if isinstance(argument, Node):
            if "slot" in argument.meta:
                return self._read(argument)
            return _scalar(argument)
        if isinstance(argument, list | tuple):
            return tuple(v for v in map(self._value, argument) if type(v) is Value) or None
        return argument

    def _read(self, node: Node) -> Value | None:
        slot, geometry = node.meta["slot"], node.meta["geometry"]
        if geometry is None:
            return None
        if slot in self._items:
            self._item(slot)
        elif slot not in self._builder.storages:
            self._enter(slot, self._bases.get(slot, node))
        return self._builder.read(slot, geometry, node)

    def _enter(self, slot: int, base: Node) -> None:
        """A storage that was there before."""
        earlier = self._memory.storages.get(base.meta["value"]) if "value" in base.meta else None
        if earlier is not None:
            self._builder.storages[slot] = earlier
            return
        role = base.meta["genie"].role if "genie" in base.meta else ""
        leaf = self._builder.leaf(slot, base.meta["geometry"], role, static=role in _STATIC)
        leaf.value = base.meta.get("value")

    def _copy(self, node: Node, known: OpInfo, values: tuple[Any, ...]) -> None:
        """What is copied is there too, but for its dtype."""
        target = node.args[1 if known.name == "_copy_from" else 0]
        source = values[0 if known.name == "_copy_from" else -1]
        if not isinstance(target, Node) or type(source) is not Value:
            return
        storage = self._builder.storages[target.meta["slot"]]
        made = storage.whole.step.nodes if storage.whole.step.name == "alloc" else ()
        value = Value(source.step, (*source.trail, *made, node), dropped=source.dropped)
        self._builder.write(target.meta["slot"], target.meta["geometry"], value)

    def _leave(self, node: Node, known: OpInfo, result: Value) -> None:
        """Let the storages that an op makes or writes hold its results."""
        position = 0
        for output in node.meta["outputs"]:
            if output[0] == 0:
                if position:
                    self._items[output[1]] = (result, position, output[2])
                else:
                    self._builder.write(output[1], output[2], result)
                position += 1
        for key in known.writes:
            argument = _argument(node, key)
            if isinstance(argument, Node) and "slot" in argument.meta:
                self._builder.write(argument.meta["slot"], argument.meta["geometry"], result)

    def _item(self, slot: int) -> None:
        """Make a step of an op's further result, which most ops' nobody reads."""
        result, position, geometry = self._items.pop(slot)
        step = self._builder.step("item", (result, position), None, geometry)
        self._builder.write(slot, geometry, Value(step))


def _argument(node: Node, key: int | str) -> Any:
    if isinstance(key, str):
        return node.kwargs.get(key)
    return node.args[key] if key < len(node.args) else None


def _geometry(argument: Any) -> Any:
    return argument.meta.get("geometry") if isinstance(argument, Node) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _scalar(node: Node) -> Any:
    """The number that a node stands for, as it was at first sight."""
    if "symbol" in node.meta:
        return node.meta.get("example", 0)
    if node.target is host_scalar:
        return _content(*map(_known, node.args))
    return None


@lru_cache(1 << 12)
def _content(dtype: torch.dtype, wrapped: bool, low: int, high: int) -> Any:
    return host_scalar(dtype, wrapped, low, high).item()


def _known(word: Any) -> Any:
    return word.meta.get("example", 0) if isinstance(word, Node) else word
