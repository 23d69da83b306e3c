"""What recording costs: Genie, CPU eager and PyTorch's LazyTensor core, an op at a time.

Batches of 50 ops are timed; each backend is made to finish what it recorded between two
batches, outside of the timing, so that no flush falls into a batch. Each op takes the result of
the one before, as in a model. The rows of a whole GPT-2 time the call of the model, with the
flushes that the size of the trace causes; eager's kernels are cheaper in the smaller one.
"""

from __future__ import annotations

import copy
import timeit
from collections.abc import Callable
from typing import Any

import torch

from ._measure import far_side, gpt2, medians, seconds, synchronize

BATCH = 50
ROUNDS = 300
GPT2_ROUNDS = 60
# statement over 8×8 tensors, highest ratio to eager that is wanted (None: no bar)
OPS: dict[str, tuple[str, float | None]] = {
    "add": ("x = x + b", 1.0),
    "mm": ("x = x.mm(b)", 1.0),
    "relu": ("x = x.relu()", 1.0),
    "t": ("x = x.t()", 2.0),
    "add_": ("x.add_(b)", 1.0),
    "mul with grad": ("x = w * x", None),
}
LAZY_BAR = 3.0
GPT2_BAR = 0.9
GPT2_SIZES = ((50257, 32), (1000, 16))  # vocabulary, tokens


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each op, and two for a 12-layer GPT-2 of width 64. Times are in µs."""
    import torch._lazy.ts_backend

    torch._lazy.ts_backend.init()
    with far_side(device) as genie:
        backends = {"genie": genie, "eager": torch.device("cpu"), "lazy": torch.device("lazy")}
        rows = [_op_row(op, statement, bar, backends) for op, (statement, bar) in OPS.items()]
        return rows + [_gpt2_row(genie, *sizes) for sizes in GPT2_SIZES]


def _op_row(
    op: str, statement: str, bar: float | None, backends: dict[str, torch.device]
) -> dict[str, Any]:
    runs = {name: _batch(statement, device) for name, device in backends.items()}
    medians(runs, 20)
    return _row(op, medians(runs, ROUNDS), bar)


def _batch(statement: str, device: torch.device) -> Callable[[], float]:
    tensors = {
        "a": torch.full((8, 8), 0.5).to(device),
        "b": torch.eye(8).to(device),
        "w": torch.ones(8, 8).to(device).requires_grad_(),
    }
    timer = timeit.Timer(statement, setup="x = a", globals=dict(tensors))

    def batch() -> float:
        taken = timer.timeit(BATCH) / BATCH
        synchronize(device)
        return taken

    return batch


def _gpt2_row(genie: torch.device, vocabulary: int, length: int) -> dict[str, Any]:
    sizes = {"n_layer": 12, "n_embd": 64, "n_head": 4, "vocab_size": vocabulary}
    local = gpt2(attn_implementation="eager", **sizes)
    models = {"genie": copy.deepcopy(local).to(genie), "eager": local}
    tokens = torch.arange(length).unsqueeze(0)
    runs = {name: _forward(model, tokens.to(model.device)) for name, model in models.items()}
    medians(runs, 5)
    name = f"GPT-2, 12 layers of 64, {vocabulary} words, {length} tokens"
    return _row(name, medians(runs, GPT2_ROUNDS), GPT2_BAR)


def _forward(model: Any, tokens: torch.Tensor) -> Callable[[], float]:
    @torch.no_grad()
    def forward() -> float:
        taken = seconds(lambda: model(tokens))
        synchronize(tokens.device)
        return taken

    return forward


def _row(op: str, median: dict[str, float], bar: float | None) -> dict[str, Any]:
    genie, eager, lazy = median["genie"], median["eager"], median.get("lazy")
    over_eager = genie / eager
    over_lazy = None if lazy is None else lazy / genie
    fast_enough = over_lazy is None or over_lazy >= LAZY_BAR
    return {
        "op": op,
        "genie_us": genie * 1e6,
        "eager_us": eager * 1e6,
        "lazy_us": None if lazy is None else lazy * 1e6,
        "genie_over_eager": over_eager,
        "eager_bar": bar,
        "lazy_over_genie": over_lazy,
        "lazy_bar": None if lazy is None else LAZY_BAR,
        "met": fast_enough and (bar is None or over_eager <= bar),
    }
