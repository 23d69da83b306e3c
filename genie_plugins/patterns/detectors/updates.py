"""Optimizers' updates, as lists of tensors or one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_core import Pattern
from genie_plugins.patterns.found import Detector, Families, Found
from genie_plugins.patterns.ops import info

if TYPE_CHECKING:
    from genie_plugins.patterns.view import View

Node = torch.fx.Node


def updates(name: str) -> Detector:
    """A detector of the updates of one kind of optimizer."""

    def detect(view: View, _: Families) -> Iterator[Found]:
        for nodes in view.updates:
            if _kind(nodes) == name:
                yield Found(Pattern(name, (), tuple), (), tuple(nodes))

    return detect


def _kind(nodes: list[Node]) -> str:
    names = [info(node.meta["op"]).name.removeprefix("_foreach_") for node in nodes]
    for name in names:
        if name.startswith(("_fused_adamw", "_fused_adam", "_fused_sgd")):
            return name.removeprefix("_fused_")
    quotients = {n for n, name in zip(nodes, names, strict=True) if name == "addcdiv"}
    if quotients:
        return _adam(nodes, names, quotients)
    return "sgd" if "add" in names and set(names) <= _SGD else ""


_SGD = {"add", "mul", "clone", "neg", "detach", "copy", "alloc", "zero", "sub", "lerp"}


def _adam(nodes: list[Node], names: list[str], quotients: set[Node]) -> str:
    """The kind of the first update that is here from its beginning."""
    own: list[tuple[Node, str]] = []
    for node, name in zip(nodes, names, strict=True):
        if node in quotients:
            kind = _of_one(own, node)
            if kind:
                return kind
            own.clear()
        else:
            own.append((node, name))
    return ""


def _of_one(own: list[tuple[Node, str]], quotient: Node) -> str:
    """Whether a moment is divided; and whether the weights were decayed by themselves before."""
    weights = _slots(quotient.args[0])
    written: set[int] = set()
    for node, name in own:
        if info(node.meta["op"]).writes:
            written |= _slots(node.args[0])
            if name == "mul" and weights & _slots(node.args[0]):
                return "adamw"
    return "adam" if written & _slots(quotient.args[1]) else ""


def _slots(argument: Any) -> set[int]:
    items = argument if isinstance(argument, list | tuple) else [argument]
    return {item.meta["slot"] for item in items if isinstance(item, Node) and "slot" in item.meta}
