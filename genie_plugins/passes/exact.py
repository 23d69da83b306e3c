"""Whether a match says all that its ops do.

A pattern is looked for in a view of the graph that leaves things out: masks, biases, casts. Before
its replacement takes the place of a match, the spelling itself is traced for the match's inputs: it
has to be the same ops, with the same numbers, that were recorded.
"""

from __future__ import annotations

import inspect
import operator as _operator
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.fx

from genie_core.graph import STEPS, host_scalar
from genie_plugins.passes.lifted import Lifted, argument
from genie_plugins.passes.tracing import name_of, trace, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from genie_core.values import Pattern

Node = torch.fx.Node
Said = tuple[str, str]
"""An op's name, and its numbers."""


def is_spelled(pattern: Pattern, ops: list[Node], values: Mapping[str, Any]) -> bool:
    """Whether one of the pattern's spellings, with these inputs and literals, is these ops."""
    recorded = Counter(map(_recorded, ops))
    return any(_ops(spelling, values) == recorded for spelling in pattern.spellings)


def _recorded(node: Node) -> Said:
    name: str = node.meta["op"]
    if name in STEPS:
        return name, repr(node.args[1:])
    return name, _numbers((*node.args, *node.kwargs.values()))


def _ops(spelling: Callable[..., Any], values: Mapping[str, Any]) -> Counter[Said]:
    names = tuple(inspect.signature(spelling).parameters)
    try:
        arguments = tuple(argument(values[name], Lifted())[0] for name in names)
        traced = trace(spelling, names, arguments, whole_ops=False)
    except Exception:  # a spelling that does not take such tensors is another one
        return Counter()
    return Counter(_traced(traced))


def _traced(graph: torch.fx.Graph) -> Iterator[Said]:
    storages: set[int] = set()
    for node in graph.nodes:
        value = node.meta.get("val")
        own = _storages(value)
        if _is_op(node) and (node.target._schema.is_mutable or not own <= storages):
            args, kwargs = whole(node.target, node.args, node.kwargs)
            yield name_of(node.target), _numbers((*args, *kwargs.values()))
        storages |= own


def _is_op(node: Node) -> bool:
    return node.op == "call_function" and node.target is not _operator.getitem


def _storages(value: Any) -> set[int]:
    values = value if isinstance(value, list | tuple) else [value]
    return {v.untyped_storage()._cdata for v in values if isinstance(v, torch.Tensor)}


def _numbers(args: Any) -> str:
    """What an op is told besides tensors."""
    return repr([_number(arg) for arg in args])


def _number(arg: Any) -> Any:
    if isinstance(arg, list | tuple):
        return [_number(one) for one in arg]
    if isinstance(arg, Node):
        if arg.target is host_scalar:
            return host_scalar(*(_example(word) for word in arg.args)).item()
        return arg.meta["example"] if "symbol" in arg.meta else "tensor"
    return "device" if isinstance(arg, torch.device) else arg


def _example(word: Any) -> Any:
    return word.meta["example"] if isinstance(word, Node) else word
