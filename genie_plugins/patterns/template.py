"""A pattern's spelling as an FX graph of the analysis view's ops."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch
import torch.fx
from torch.utils._python_dispatch import TorchDispatchMode

from genie_core.graph import Geometry
from genie_plugins.patterns.builder import Builder
from genie_plugins.patterns.ops import info, op
from genie_plugins.patterns.rules import RULES
from genie_plugins.patterns.step import Step, Value

if TYPE_CHECKING:
    from genie_core import Pattern

Node = torch.fx.Node

_PARAMETERS = ("weight", "bias", "table")


@attrs.frozen(eq=False)
class Template:
    """One spelling of a pattern."""

    pattern: Pattern
    graph: torch.fx.Graph
    """Placeholders are the parameters, the output's operands the results."""
    root: Node
    """The op that comes last."""
    needs: tuple[tuple[str, tuple[str, ...]], ...]
    """Ops among the root's operands, and among those' own, which a place must have."""
    size: int
    """How many ops it has."""


def trace(pattern: Pattern, spelling: Callable[..., Any]) -> Template | None:
    """Trace a spelling. Parameters named `weight…`, `bias…` or `table…` are a model's own.

    A number among the examples stands for any number wherever it comes up.
    None for one that this torch cannot run.
    """
    examples = list(pattern.examples())
    names = list(inspect.signature(spelling).parameters)[: len(examples)]
    recorder = _Recorder()
    numbers = {e: f"number{i}" for i, e in enumerate(examples) if isinstance(e, int | float)}
    for name, example in zip(names, examples, strict=False):
        if isinstance(example, torch.Tensor):
            recorder.parameter(name, example)
        else:
            if example:
                numbers[1.0 / example] = f"inverse_{name}"  # what divides is a factor to the view
            numbers[example] = name
    with torch.no_grad(), recorder:
        found = spelling(*examples[: len(names)])
    results = found if isinstance(found, tuple | list) else (found,)
    outputs = [recorder.read(result).step for result in results]
    return _Writer(recorder.leaves, numbers).template(pattern, outputs)


class _Recorder(TorchDispatchMode):
    """Makes the view's steps of what runs, as `View` makes them of what was recorded."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.builder = Builder(RULES)
        self.leaves: dict[Step, str] = {}
        self._kept: list[torch.Tensor] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Spare torch (2.6 and newer) the second that its import of Dynamo takes."""
        return False

    def parameter(self, name: str, tensor: torch.Tensor) -> None:
        static = name.startswith(_PARAMETERS)
        leaf = self.builder.leaf(_slot(tensor), _geometry(tensor), "", static=static)
        self.leaves[leaf] = name
        self._kept.append(tensor)

    def read(self, tensor: torch.Tensor) -> Value:
        slot, geometry = _slot(tensor), _geometry(tensor)
        if slot not in self.builder.storages:
            self._kept.append(tensor)
            self.builder.leaf(slot, geometry, "", static=True)
        return self.builder.read(slot, geometry, None)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        outputs = result if isinstance(result, tuple | list) else (result,)
        tensors = [output for output in outputs if isinstance(output, torch.Tensor)]
        self._kept += tensors
        known = info(_name(func))
        if not known.writes and all(_slot(t) in self.builder.storages for t in tensors):
            return result  # a view
        if known.name in ("empty_like", "empty", "empty_strided"):
            for tensor in tensors:
                self.builder.alloc(_slot(tensor), None, tensor.untyped_storage().nbytes())
            return result
        self._record(known, args, kwargs, tensors)
        return result

    def _record(self, known: Any, args: Any, kwargs: Any, tensors: list[torch.Tensor]) -> None:
        values = tuple(self._values(args, numbers=known.arithmetic))
        extra = [self.read(v) for v in kwargs.values() if isinstance(v, torch.Tensor)]
        alpha = kwargs.get("alpha", 1)
        values = values if alpha == 1 else (*values, alpha)
        if known.name == "copy":
            self.builder.write(_slot(args[0]), _geometry(args[0]), self.read(args[1]))
            return
        geometry = _geometry(tensors[0]) if tensors else None
        value = self.builder.op(known, values, tuple(extra), None, geometry)
        for position, tensor in enumerate(tensors):
            item = value
            if position:
                item = Value(self.builder.step("item", (value, position), None, None))
            self.builder.write(_slot(tensor), _geometry(tensor), item)

    def _values(self, args: Any, *, numbers: bool) -> Iterator[Any]:
        for arg in args:
            if isinstance(arg, torch.Tensor):
                yield self.read(arg)
            elif isinstance(arg, list | tuple) and any(isinstance(a, torch.Tensor) for a in arg):
                yield tuple(self._values(arg, numbers=False))
            elif numbers and isinstance(arg, int | float) and not isinstance(arg, bool):
                yield arg


def _name(func: Any) -> str:
    space, _, base = func._schema.name.partition("::")
    overload = func._overloadname  # noqa: SLF001 (torch has no public name for it)
    return f"{space}::{base}" + ("" if overload == "default" else f".{overload}")


def _slot(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _geometry(tensor: torch.Tensor) -> Geometry:
    return Geometry(
        tensor.dtype, tuple(tensor.size()), tuple(tensor.stride()), tensor.storage_offset()
    )


class _Writer:
    """Writes steps into an FX graph that a matcher can take."""

    def __init__(self, leaves: dict[Step, str], numbers: dict[Any, str]) -> None:
        self._graph = torch.fx.Graph()
        self._leaves = leaves
        self._numbers = numbers
        self._placeholders: dict[str, Node] = {}
        self._nodes: dict[Step, Node] = {}

    def template(self, pattern: Pattern, outputs: list[Step]) -> Template | None:
        nodes = [self._write(output) for output in outputs]
        self._graph.output(tuple(nodes))
        roots = [n for n in nodes if n.op == "call_function"]
        if not roots:
            return None
        root = max(roots, key=list(self._graph.nodes).index)
        needs = tuple((n.target.name, tuple(o.target.name for o in _ops(n))) for n in _ops(root))
        size = sum(n.op == "call_function" for n in self._graph.nodes)
        return Template(pattern, self._graph, root, needs, size)

    def _write(self, step: Step) -> Node:
        node = self._nodes.get(step)
        if node is None:
            if step.name == "leaf":
                node = self._placeholder(self._leaves.get(step, "anything"))
            else:
                args = tuple(map(self._argument, step.args))
                node = self._graph.create_node("call_function", op(step.name), args, {}, step.name)
            self._nodes[step] = node
        return node

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, Step):
            return self._write(argument)
        if isinstance(argument, tuple):
            return tuple(map(self._argument, argument))
        name = self._numbers.get(argument)
        return argument if name is None else self._placeholder(name)

    def _placeholder(self, name: str) -> Node:
        if name not in self._placeholders:
            first = next(iter(self._graph.nodes), None)
            with self._graph.inserting_before(first):
                self._placeholders[name] = self._graph.placeholder(name)
        return self._placeholders[name]


def _ops(node: Node) -> list[Any]:
    """The ops whose results a node reads."""
    return [one for one in node.all_input_nodes if one.op == "call_function"]
