"""The nodes of the analysis view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch.fx

from genie_plugins.patterns.ops import op

Node = torch.fx.Node


class Value:
    """A step's result as somebody reads it: through views, and through copies and casts.

    `trail` are the recorded ops looked through, `node` is what the reader was given, `geometry` how
    that lies. `dropped`: is there a dropout among what was looked through.
    """

    __slots__ = ("dropped", "geometry", "node", "step", "trail")

    def __init__(
        self,
        step: Step,
        trail: tuple[Node, ...] = (),
        node: Node | None = None,
        geometry: Any = None,
        dropped: bool = False,
    ) -> None:
        self.step = step
        self.trail = trail
        self.node = node
        self.geometry = geometry
        self.dropped = dropped


_COMPUTED = {"embedding", "embedding_bag"}
"""Ops whose results are activations, though tokens may have been made of nothing, by `arange`."""


class Step:
    """A functional op of the analysis view, and the recorded ops that it stands for.

    `fx` is the view's FX node: what templates are matched with. `args` are its operands; `extra`
    those that templates do not spell (a bias, a mask). Views are seen through.
    """

    __slots__ = (
        "args",
        "core",
        "extra",
        "fx",
        "geometry",
        "index",
        "key",
        "name",
        "node",
        "nodes",
        "operands",
        "role",
        "slot",
        "static",
        "users",
        "value",
        "values",
    )

    def __init__(
        self,
        graph: torch.fx.Graph,
        name: str,
        values: tuple[Any, ...],
        extra: tuple[Any, ...] = (),
        node: Node | None = None,
        nodes: tuple[Node, ...] = (),
    ) -> None:
        self.name = name
        self.values = values
        self.extra = extra
        self.args = tuple(map(_step, values))
        self.node = node
        self.nodes = nodes
        self.users: list[Step] = []
        self.geometry: Any = None
        self.index = 0
        self.role = ""
        self.slot = -1
        self.value: Any = None
        self.core: Step = self
        self.key: Any = None
        self.static = name not in _COMPUTED
        self.operands = [value.step for value in _flat(values)]
        """The steps among `args`."""
        for step in self.inputs if extra else self.operands:
            step.users.append(self)
            if not step.static:
                self.static = False
        if name == "leaf":
            self.fx = Node(graph, "x", "placeholder", "x", (), {})
        else:
            self.fx = Node(graph, name, "call_function", op(name), _fx(self.args), {})
        self.fx.meta["step"] = self

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(str(getattr(a, 'name', a)) for a in self.args)})"

    def forget(self) -> None:
        """Become something that was there before."""
        self.name, self.core, self.key = "leaf", self, None
        self.args = self.values = self.extra = self.nodes = ()
        self.users, self.operands = [], []
        self.node = None
        self.fx = Node(self.fx.graph, "x", "placeholder", "x", (), {})
        self.fx.meta["step"] = self

    @property
    def inputs(self) -> list[Step]:
        """The steps whose results it reads."""
        return [*self.operands, *(value.step for value in _flat(self.extra))]

    @property
    def reads(self) -> list[Value]:
        """All that it reads."""
        return list(_flat((*self.values, *self.extra)))

    @property
    def recorded(self) -> list[Node]:
        """The recorded ops that it stands for, with the copies and casts of what it reads."""
        found = list(self.nodes)
        for value in _flat((*self.values, *self.extra)):
            found.extend(value.trail)
        return found

    @property
    def size(self) -> tuple[Any, ...]:
        """Of its result; numbers that vary are FX nodes."""
        return () if self.geometry is None else tuple(self.geometry.size)


def _step(value: Any) -> Any:
    if type(value) is Value:
        return value.step
    return tuple(map(_step, value)) if type(value) is tuple else value


def _fx(args: Any) -> Any:
    return tuple([a.fx if type(a) is Step else _fx(a) if type(a) is tuple else a for a in args])


def _flat(values: Any) -> Iterator[Value]:
    for value in values:
        if type(value) is Value:
            yield value
        elif type(value) is tuple:
            yield from _flat(value)


def step_of(node: Node) -> Step:
    """The step whose FX node this is."""
    found: Step = node.meta["step"]
    return found
