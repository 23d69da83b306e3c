"""The backend `genie` of `torch.compile`: an entry point in `torch_dynamo_backends`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from torch._dynamo.backends.common import aot_autograd

from genie_plugins.dynamo.compiled import CompiledGraph
from genie_plugins.dynamo.registration import register

if TYPE_CHECKING:
    import torch.fx

register()


def genie(graph: torch.fx.GraphModule, inputs: Sequence[Any], **options: Any) -> Callable[..., Any]:
    """Compile what Dynamo captured, forward and backward apart.

    Nothing is decomposed but what PyTorch itself decomposes, so that the ops are those of eager.
    """
    compiler = aot_autograd(fw_compiler=compile_graph, keep_inference_input_mutations=True)
    compiled: Callable[..., Any] = compiler(graph, inputs, **options)
    return compiled


def compile_graph(graph: torch.fx.GraphModule, _: Sequence[Any]) -> CompiledGraph:
    """Compile a functional graph of ATen ops."""
    return CompiledGraph(graph)
