"""A graph ready to ship: encoded for the replay and named by its content's hash.

The forms of :class:`genie_core.protocol.ProgramCode`:

- ``tensors``: ``[slot, dtype, flags, [offset, *sizes, *strides], [[position, symbol], …]]``;
  positions count in the list of numbers, which holds 0 where a symbol stands.
- ``ops``: ``[name, [argument, …], [output, …]]``, and the modes where they are not the usual
  ones: the default dtype's number, and bits 8 for deterministic and 9 for warn-only.
- an argument: ``[0]`` none, ``[1, tensor]``, ``[2, slot]`` a generator or whole value,
  ``[3, int]``, ``[4, symbol]`` an int, ``[5, float]``, ``[6, symbol]`` a float, ``[7, bool]``,
  ``[8, str]``, ``[9, [argument, …]]``, ``[10]`` the executor's device,
  ``[11, [low, high], dtype, wrapped]`` a 0-dim CPU tensor by its bits,
  ``[12, [real, imaginary]]``, ``[13, slot]`` the generator of a random op that takes none.
- an output: ``[0, slot, tensor]`` new, ``[1]`` an argument itself, ``[2]`` undefined.
"""

from __future__ import annotations

import hashlib
from typing import Any, cast

import attrs
import torch
import torch.fx

from genie_core import _native, protocol
from genie_core.graph import (
    CONTROL,
    FORMATS,
    LAYOUTS,
    STEPS,
    Geometry,
    Semantics,
    complex_number,
    host_scalar,
    parameters,
)

_CODES = {value: code for kind in (LAYOUTS, FORMATS) for code, value in enumerate(kind)}
_LITERALS = {bool: 7, int: 3, float: 5, str: 8}
_DEFAULT_MODES = _native.dtype_code(torch.float32)


@attrs.frozen
class EncodedProgram:
    """A program's code, the name that its content gives it, its graph, what each op means."""

    code: bytes
    name: bytes
    graph: torch.fx.Graph
    semantics: list[Semantics]
    rewrite: protocol.Rewrite | None = None


def encode_graph(graph: torch.fx.Graph, sealed: _native.Sealed) -> EncodedProgram:
    """Encode `graph`; `sealed` says which slots a run binds and keeps."""
    encoder = Encoder()
    for node in graph.nodes:
        if "op" in node.meta:
            encoder.add(node)
    slots = (sealed.slots, sealed.symbols, sealed.bound, sealed.kept)
    code = protocol.ProgramCode(*slots, encoder.tensors, encoder.ops, sealed.tail)
    encoded = protocol.encode(code)
    name = hashlib.blake2b(encoded, digest_size=16).digest()
    return EncodedProgram(encoded, name, graph, encoder.semantics)


class Encoder:
    """Encodes ops one by one."""

    def __init__(self) -> None:
        self.tensors: list[list[Any]] = []
        self.ops: list[list[Any]] = []
        self.semantics: list[Semantics] = []
        self._index: dict[tuple[int, Geometry], int] = {}

    def add(self, node: torch.fx.Node) -> None:
        """Add a node with a recorded op."""
        name: str = node.meta["op"]
        op = [name, self._args(node), [self._output(o) for o in node.meta["outputs"]]]
        modes = node.meta["modes"]
        self.ops.append(op if modes == _DEFAULT_MODES else [*op, modes])
        self.semantics.append(node.meta["genie"])

    def _args(self, node: torch.fx.Node) -> list[Any]:
        if node.meta["op"] in CONTROL:
            return [self._whole(arg) for arg in node.args]
        if node.meta["op"] in STEPS:
            return [self._step_arg(arg) for arg in node.args]
        positional = iter(node.args)
        args = [
            self._arg(node.kwargs[keyword] if keyword_only else next(positional))
            for keyword, keyword_only, _ in parameters(node.meta["op"])
        ]
        if "generator" in node.meta:
            args.append([13, node.meta["generator"].meta["slot"]])
        return args

    def _whole(self, arg: Any) -> list[Any]:
        if isinstance(arg, list | tuple):
            return [9, [self._whole(item) for item in arg]]
        return self._step_arg(arg)

    def _step_arg(self, arg: Any) -> list[Any]:
        """A step's values are whole storages or generators, not views."""
        if isinstance(arg, torch.fx.Node) and "slot" in arg.meta:
            return [2, arg.meta["slot"]]
        return self._arg(arg)

    def _arg(self, arg: Any) -> list[Any]:
        if isinstance(arg, torch.fx.Node):
            return self._node(arg)
        if isinstance(arg, torch.dtype):
            return [3, _native.dtype_code(arg)]
        if isinstance(arg, list | tuple):
            return [9, [self._arg(item) for item in arg]]
        return _constant(arg)

    def _node(self, node: torch.fx.Node) -> list[Any]:
        if "symbol" in node.meta:
            return [6 if node.meta.get("real") else 4, node.meta["symbol"]]
        if node.target is host_scalar:
            dtype, wrapped, low, high = cast("tuple[Any, ...]", node.args)
            return [11, [self._arg(low), self._arg(high)], _native.dtype_code(dtype), wrapped]
        if node.target is complex_number:
            return [12, [self._arg(part) for part in node.args]]
        geometry = node.meta["geometry"]
        if geometry is None:
            return [2, node.meta["slot"]]
        return [1, self._tensor(node.meta["slot"], geometry)]

    def _tensor(self, slot: int, geometry: Geometry) -> int:
        key = (slot, geometry)
        if key not in self._index:
            numbers = [geometry.offset, *geometry.size, *geometry.stride]
            lifted = [
                [position, number.meta["symbol"]]
                for position, number in enumerate(numbers)
                if isinstance(number, torch.fx.Node)
            ]
            plain = [0 if isinstance(n, torch.fx.Node) else n for n in numbers]
            code = _native.dtype_code(geometry.dtype)
            self._index[key] = len(self.tensors)
            self.tensors.append([slot, code, geometry.flags, plain, lifted])
        return self._index[key]

    def _output(self, output: tuple[Any, ...]) -> list[Any]:
        if output[0] != 0:
            return [output[0]]
        _, slot, geometry = output
        return [0, slot, self._tensor(slot, geometry)]


def _constant(arg: Any) -> list[Any]:
    if arg is None:
        return [0]
    if isinstance(arg, torch.device):
        return [10]
    if type(arg) in _LITERALS:
        return [_LITERALS[type(arg)], arg]
    return [3, _CODES[arg]]
