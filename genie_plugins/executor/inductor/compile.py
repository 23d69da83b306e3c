"""Compiles a translated program; everything that knows Inductor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from genie_plugins.executor.inductor import operator
from genie_plugins.executor.inductor.translate import Translated, Unsuitable, lying, translate

if TYPE_CHECKING:
    from collections.abc import Callable

    from genie_core.protocol import ProgramCode

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 5e-2}
"""How far a result may be off, of its largest number: by the least precise dtype of a program."""


@attrs.frozen
class Made:
    """A program's rewrite: one op. The fields are those of `Store.define_rewrite`."""

    slots: int
    tensors: list[list[Any]]
    ops: list[list[Any]]
    origins: list[int]
    once: list[int]
    guards: list[tuple[int, int]]
    tolerance: float


def compile_program(code: ProgramCode, device: str) -> Made:
    """Compile a program; takes seconds. Raises `Unsuitable`, or what Inductor raises."""
    found = translate(code, device)
    fake = FakeTensorMode()
    with fake:
        examples = [lying(code, i).fake(device) for i in (*found.inputs, *found.written)]
    _check(found, examples, fake)
    number = operator.add(_inductor(found.graph, examples), examples)
    return _rewrite(code, found, number)


def _inductor(graph: torch.fx.GraphModule, examples: list[torch.Tensor]) -> Callable[..., Any]:
    from torch._guards import TracingContext, tracing
    from torch._inductor import config
    from torch._inductor.compile_fx import compile_fx

    fake: Any = examples[0]
    context = tracing(TracingContext(fake.fake_mode))
    options = {"fx_graph_cache": True, "compile_threads": 1}  # no processes beside the executor's
    with config.patch(options), context, torch.no_grad():
        compiled: Any = compile_fx(graph, examples)
    return lambda tensors: compiled(*tensors)


def _check(found: Translated, examples: list[torch.Tensor], fake: FakeTensorMode) -> None:
    """Raise `Unsuitable` where an op gives tensors that lie otherwise than the client thinks."""
    seen = _Checking(found.graph)
    with fake, torch.no_grad():
        seen.run(*examples)


class _Checking(torch.fx.Interpreter):
    def run_node(self, n: torch.fx.Node) -> Any:
        """Run a node, and look how what it gives lies."""
        value = super().run_node(n)
        known = n.meta.get("lying")
        if known is not None and not (
            value.dtype == known.dtype
            and tuple(value.size()) == known.size
            and (value.numel() < 2 or value.stride() == known.stride)
            and value.storage_offset() == known.offset
        ):
            raise Unsuitable(f"{n.target} gives a tensor that lies otherwise")
        return value


def _rewrite(code: ProgramCode, found: Translated, number: int) -> Made:
    def listed(indices: list[int]) -> list[Any]:
        return [9, [[1, index] for index in indices]]

    outputs = [[0, lying(code, index).slot, index] for index in found.outputs]
    op = [operator.NAME, [[3, number], listed(found.inputs), listed(found.written)], outputs]
    dtypes = {lying(code, index).dtype for index in range(len(code.tensors))}
    tolerance = max((TOLERANCE.get(dtype, 0.0) for dtype in dtypes), default=0.0)
    return Made(code.slots, code.tensors, [op], [0], [], [], tolerance)
