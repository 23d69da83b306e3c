"""Makes the analysis view, op by op: functional, through views, copies and casts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_plugins.patterns.ops import POINTWISE, OpInfo
from genie_plugins.patterns.step import Step, Value
from genie_plugins.patterns.storage import Storage, joined

if TYPE_CHECKING:
    from genie_core.graph import Geometry

Node = torch.fx.Node


Values = tuple[Any, ...]
Rule = Callable[["Builder", str, Values, Values, Any, Any], "Value | None"]
"""Gives an op (builder, name, values, extra, node, geometry) the form that its spellings share."""


class Builder:
    """The steps of a view as they come, and what lies in each storage by now."""

    def __init__(self, rules: Mapping[str, Rule], first_index: int = 0) -> None:
        self._rules = rules
        self._next_index = first_index
        self.graph = torch.fx.Graph()
        self.steps: list[Step] = []
        self.storages: dict[int, Storage] = {}

    # Values ----------------------------------------------------------------------------------

    def leaf(self, slot: int, geometry: Geometry | None, role: str, *, static: bool) -> Step:
        """What was there before."""
        step = Step(self.graph, "leaf", ())
        step.geometry, step.role, step.static, step.slot = geometry, role, static, slot
        self.storages[slot] = Storage(Value(step), geometry)
        return step

    def alloc(self, slot: int, node: Node | None, nbytes: Any) -> None:
        """A storage that nobody wrote yet."""
        step = Step(self.graph, "alloc", (), node=node, nodes=(node,) if node is not None else ())
        self.storages[slot] = Storage(Value(step, step.nodes), None, nbytes)

    def read(self, slot: int, geometry: Geometry, node: Node | None) -> Value:
        """What lies in a storage, as somebody sees it who is given `node`."""
        storage = self.storages[slot]
        value = storage.part(geometry) if storage.parts else storage.whole
        if value is None:
            step = self._place(joined(self.graph, storage), storage.geometry)
            value = storage.whole = Value(step)
            storage.parts.clear()
        return Value(value.step, value.trail, node, geometry, value.dropped)

    def write(self, slot: int, geometry: Geometry | None, value: Value) -> None:
        """Let a storage hold a step's result."""
        storage = self.storages.get(slot)
        if storage is None:
            self.storages[slot] = Storage(value, geometry)
        else:
            storage.write(geometry, value)

    # Steps -----------------------------------------------------------------------------------

    def _place(self, step: Step, geometry: Geometry | None) -> Step:
        step.geometry = geometry
        step.index = self._next_index
        self._next_index += 1
        self.steps.append(step)
        return step

    def step(
        self,
        name: str,
        values: tuple[Any, ...],
        node: Node | None,
        geometry: Geometry | None,
        extra: tuple[Any, ...] = (),
        nodes: tuple[Node, ...] = (),
    ) -> Step:
        """Add a step; `nodes` are further recorded ops that it stands for."""
        own = nodes if node is None or node in nodes else (*nodes, node)
        step = self._place(Step(self.graph, name, values, extra, node, own), geometry)
        if name in POINTWISE:
            _find_core(step)
        return step

    def drop(self, step: Step) -> None:
        """Take back one of the latest steps, for another that stands for it and more."""
        if step in self.steps[-4:]:
            self.steps.remove(step)
        for operand in step.inputs:
            if step in operand.users:
                operand.users.remove(step)

    def op(
        self,
        info: OpInfo,
        values: tuple[Any, ...],
        extra: tuple[Any, ...],
        node: Node | None,
        geometry: Geometry | None,
    ) -> Value:
        """Add what an op computes from what it reads."""
        if info.copies:
            first = next((v for v in values if type(v) is Value), None)
            if first is not None:
                return Value(first.step, _longer(first.trail, node), dropped=first.dropped)
        if info.arithmetic and len(values) == 3 and values[2] == 1:
            values = values[:2]  # alpha
        rule = self._rules.get(info.name)
        if rule is not None:
            found = rule(self, info.name, values, extra, node, geometry)
            if found is not None:
                return found
        return Value(self.step(info.name, values, node, geometry, extra))


def _longer(trail: tuple[Node, ...], node: Node | None) -> tuple[Node, ...]:
    return trail if node is None else (*trail, node)


def _find_core(step: Step) -> None:
    """Tell a pointwise step the one step that it is a function of, and which part of that."""
    core: Step | None = None
    key: Any = None
    for value in step.values:
        if type(value) is not Value or value.step.static:
            continue
        source, part = core_of(value)
        if core is not None and (source is not core or part != key):
            return
        core, key = source, part
    if core is not None:
        step.core, step.key = core, key


def core_of(value: Value) -> tuple[Step, Any]:
    """The step that a value is a pointwise function of, and which part of it."""
    step, geometry = value.step, value.geometry
    if geometry is None:
        return step.core, step.key
    if step.core is step or _count(geometry) != _count(step.geometry):
        return step, (geometry.offset, _count(geometry))
    return step.core, step.key


def _count(geometry: Geometry | None) -> int:
    count = 1
    for size in () if geometry is None else geometry.size:
        count *= size if isinstance(size, int) else 1
    return count
