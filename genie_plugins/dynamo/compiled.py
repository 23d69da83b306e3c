"""A compiled graph: recorded once for inputs of a shape, then run as what that became."""

from __future__ import annotations

from typing import Any

import torch
import torch.fx

from genie_core.compat import NAME
from genie_plugins.dynamo.capture import Run, capture, submit
from genie_plugins.dynamo.counts import count
from genie_plugins.dynamo.suitability import objection, written_inputs

PATIENCE = 3
"""Recordings that may read values: ops whose results' strides are asked for once do at first."""
MOST = 16
"""Shapes for which a graph's program is kept; with more, its calls are recorded."""


class CompiledGraph:
    """Runs a functional graph of ATen ops on a device; takes a list of inputs, and empties it."""

    def __init__(self, graph: torch.fx.GraphModule) -> None:
        self._boxed_call = True  # what Dynamo wraps it in takes over an instance's attributes
        self._graph = graph
        self._objection = objection(graph.graph)
        self._written = written_inputs(graph.graph)
        self._constants = _constants(graph)
        self._runs: list[Run] = []
        self._failures = 0

    def __call__(self, inputs: list[Any]) -> Any:
        """Run it. An op that fails spoils what depends on it, as everywhere on the device."""
        given = list(inputs)
        inputs.clear()
        if self._objection:
            return self._record(given, self._objection)
        tensors = [one for one in given if isinstance(one, torch.Tensor)] + self._constants
        numbers = tuple(one for one in given if not isinstance(one, torch.Tensor))
        for run in self._runs:
            if run.numbers == numbers and run.prepared.fits(tensors):
                count("prepared")
                return submit(run, tensors)
        return self._first_run(given, tensors)

    def _first_run(self, given: list[Any], tensors: list[torch.Tensor]) -> Any:
        reason = self._reason(tensors)
        if reason:
            return self._record(given, reason)
        outputs, run = capture(self._graph, given, tensors, self._written)
        if run is None:
            self._failures += 1
            reason = "it reads values, or takes some from elsewhere"
            self._objection = reason if self._failures >= PATIENCE else ""
            count(f"recorded: {reason}" if self._objection else "tried")
        else:
            self._runs.append(run)
            count("captured")
        return outputs

    def _reason(self, tensors: list[torch.Tensor]) -> str:
        if len(self._runs) >= MOST:
            return f"it met more than {MOST} shapes"
        if len({tensor.device for tensor in tensors}) != 1 or tensors[0].device.type != NAME:
            return "its inputs are not all on one device"
        if any(tensor.layout != torch.strided for tensor in tensors):
            return "an input is sparse"
        return ""

    def _record(self, given: list[Any], reason: str) -> Any:
        count(f"recorded: {reason}")
        return self._graph(*given)


def _constants(graph: torch.fx.GraphModule) -> list[torch.Tensor]:
    """The device's tensors that a graph holds itself."""
    named = (node.target for node in graph.graph.nodes if node.op == "get_attr")
    found = [getattr(graph, name, None) for name in dict.fromkeys(named)]
    return [one for one in found if isinstance(one, torch.Tensor) and one.device.type == NAME]
