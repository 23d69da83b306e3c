"""Graphs of what a test records, and what its forward ops' modules truly are."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import attrs
import torch
from torch.utils._python_dispatch import TorchDispatchMode

if TYPE_CHECKING:
    import torch.fx
    from torch import nn

FORWARD = {"forward", "eval", "prefill", "decode"}


@attrs.define
class Recording:
    """The programs that were seen first during a test, and their ops."""

    explanation: Any
    device: torch.device
    _before: int = 0

    def forget(self) -> None:
        """Leave out what was recorded until now, and make all that comes a first sight."""
        import genie_core

        genie_core.synchronize(self.device)
        forget_programs(self.device)
        self._before = len(self.explanation.programs)

    @property
    def graphs(self) -> list[torch.fx.Graph]:
        return [p.graph for p in self.explanation.programs[self._before :] if p.graph is not None]

    @property
    def ops(self) -> list[torch.fx.Node]:
        return [node for graph in self.graphs for node in graph.nodes if "op" in node.meta]

    @property
    def placeholders(self) -> list[torch.fx.Node]:
        return [node for graph in self.graphs for node in graph.nodes if "uploaded" in node.meta]

    def of_phase(self, *phases: str) -> list[torch.fx.Node]:
        return [node for node in self.ops if node.meta["genie"].phase in phases]

    def named(self, name: str) -> list[torch.fx.Node]:
        return [node for node in self.ops if op_name(node) == name]

    def modules(self) -> dict[str, list[str | None]]:
        """The modules of the forward's ops, by the name of the op, in order."""
        found = defaultdict(list)
        for node in self.of_phase(*FORWARD):
            found[op_name(node)].append(node.meta["genie"].module)
        return dict(found)


def forget_programs(device: torch.device) -> None:
    """Make everything a first sight again: a program means what it meant when it was seen first."""
    from genie_core import _native
    from genie_core.dispatcher import dispatcher

    for program in dispatcher.session(device.index)._semantics:
        _native.forget_program(device.index, program)


def op_name(node: torch.fx.Node) -> str:
    return node.meta["op"].partition("::")[2].partition(".")[0]


class Truth(TorchDispatchMode):
    """The ops of a model on the CPU, each with the module whose forward is running, by hooks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.modules: dict[str, list[str | None]] = defaultdict(list)
        self._stack: list[str] = []
        self._handles = []
        for name, module in model.named_modules():
            self._handles += [
                module.register_forward_pre_hook(lambda *_, name=name: self._stack.append(name)),
                module.register_forward_hook(self._leave, always_call=True),
            ]

    def _leave(self, *_: Any) -> None:
        self._stack.pop()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.modules[func._schema.name.partition("::")[2]].append(
            self._stack[-1] if self._stack else None
        )
        return func(*args, **(kwargs or {}))

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()
        super().__exit__(*exc)
