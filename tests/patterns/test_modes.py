"""What the user's thread has switched on changes no template and no replacement."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from genie_core.graph import Geometry
from genie_plugins.passes.tracing import trace
from genie_plugins.patterns import search


class Doubles(TorchDispatchMode):
    """A mode that changes what every op gives."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        return result.double() if isinstance(result, torch.Tensor) else result


@contextlib.contextmanager
def differentiating():
    """As inside of a function that `torch.func` transforms."""
    level = torch._C._functorch._grad_increment_nesting()
    try:
        yield level
    finally:
        torch._C._functorch._grad_decrement_nesting()


MODES = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "inference": torch.inference_mode,
    "a dispatch mode": Doubles,
    "a function transform": differentiating,
    "another default device": lambda: torch.device("meta"),
}


def templates():
    search.index.cache_clear()
    found = search.index()._by_root.values()
    return sorted(str(m.template.graph) for matchers in found for m in matchers)


def replacement():
    trace.cache_clear()
    x = Geometry(torch.float32, (2, 3, 4, 4), (48, 16, 4, 1))
    function = torch.nn.functional.scaled_dot_product_attention
    graph = trace(lambda q: function(q, q @ q, q), ("q",), (x,))
    return [
        (str(node.target), node.meta["val"].dtype) for node in graph.nodes if "val" in node.meta
    ]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("made", [templates, replacement])
def test_modes_of_the_users_thread_change_nothing(mode, made):
    expected = made()
    with MODES[mode]():
        assert made() == expected
