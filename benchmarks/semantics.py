"""What meaning costs and covers: a GPT-2 training step's first sight, and capture afterwards.

The first step of a 12-layer GPT-2 of width 64 with AdamW is recorded; what the plugins `semantics`
and `patterns` and the search for each op's origin take is divided by the number of nodes, or of
those that are ops. Capture afterwards is the call of that model, recorded in two processes that
take turns, one of which blocks every plugin that knows of meaning. All times are the CPU's of the
thread that records: other work on the machine does not count. Garbage of before is collected first.
"""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, Any
from unittest import mock

import torch

from ._measure import far_side, gpt2, medians, synchronize

SIZES = {"n_layer": 12, "n_embd": 64, "n_head": 4, "vocab_size": 1000}
ROUNDS = 100
WARM = 5
PLUGINS = "explain,passes,patterns,semantics"
FORWARD = ("forward", "eval", "prefill", "decode")


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each figure: its value, the bar for it, and whether that is met."""
    return [*_first_sight(), *_steady_state(device)]


def _row(figure: str, value: float, unit: str, bar: float | None, met: bool) -> dict[str, Any]:
    return {"figure": figure, "value": value, "unit": unit, "bar": bar, "met": met}


# First sight ---------------------------------------------------------------------------------


def _first_sight() -> Iterator[dict[str, Any]]:
    import genie_core
    from genie_core.dispatcher import dispatcher
    from genie_plugins.patterns import annotate as patterns
    from genie_plugins.patterns.search import index
    from genie_plugins.semantics import annotate as semantics

    device = genie_core.connect("inproc://")
    model = gpt2(**SIZES).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.arange(32, device=device).unsqueeze(0)
    genie_core.synchronize(device)
    index()  # templates are traced once, for all programs
    gc.collect()  # what the imports left is not a program's
    spent = {"annotation": 0.0, "matching": 0.0, "origin": 0.0}
    with (
        genie_core.explain() as explanation,
        _timed(semantics, "annotate", spent, "annotation"),
        _timed(patterns, "annotate", spent, "matching"),
        _timed(dispatcher, "origin", spent, "origin"),
    ):
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        genie_core.synchronize(device)
    graphs = [program.graph for program in explanation.programs if program.graph is not None]
    nodes = sum(len(graph.nodes) for graph in graphs)
    ops = [node for program in explanation.programs for node in program.nodes]
    both = (spent["annotation"] + spent["matching"]) / nodes * 1e6
    yield _row(
        "annotation, a node of the graph", spent["annotation"] / nodes * 1e6, "µs", None, met=True
    )
    yield _row(
        "matching, a node of the graph", spent["matching"] / nodes * 1e6, "µs", None, met=True
    )
    yield _row("both, a node of the graph", both, "µs", 25.0, both <= 25.0)
    yield _row("origin, an op", spent["origin"] / len(ops) * 1e6, "µs", None, met=True)
    yield _row("ops of the step", len(ops), "ops", None, met=True)
    yield from _coverage(ops)


@contextlib.contextmanager
def _timed(owner: Any, name: str, spent: dict[str, float], key: str) -> Iterator[None]:
    original: Callable[..., Any] = getattr(owner, name)

    def timed(*args: Any) -> Any:
        start = time.thread_time()
        try:
            return original(*args)
        finally:
            spent[key] += time.thread_time() - start

    with mock.patch.object(owner, name, timed):
        yield


def _coverage(ops: list[torch.fx.Node]) -> Iterator[dict[str, Any]]:
    """How many ops of a phase have module, phase and role."""
    for phases, bar in ((FORWARD, 1.0), (("backward",), 0.98)):
        known = [n.meta["genie"] for n in ops if n.meta["genie"].phase in phases]
        whole = [k for k in known if k.module is not None and k.role]
        share = len(whole) / len(known)
        yield _row(f"{phases[0]} ops told whole", share, "of 1", bar, share >= bar)


# Steady state --------------------------------------------------------------------------------


def _steady_state(device: str) -> Iterator[dict[str, Any]]:
    with _worker(device, "") as on, _worker(device, PLUGINS) as off:
        median = medians({"on": on, "off": off}, ROUNDS)
    yield _row("capture with all plugins", median["on"] * 1e6, "µs", None, met=True)
    yield _row("capture without", median["off"] * 1e6, "µs", None, met=True)
    ratio = median["on"] / median["off"]
    yield _row("with over without", ratio, "×", 1.03, ratio <= 1.03)


@contextlib.contextmanager
def _worker(device: str, blocked: str) -> Iterator[Callable[[], float]]:
    """A process that records the model's call when asked to, and says how long that took."""
    process = subprocess.Popen(
        [sys.executable, "-m", "genie_benchmarks.semantics", device],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GENIE_BLOCK_PLUGINS": blocked},
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield _asking(process.stdin, process.stdout)
        finally:
            process.stdin.close()


def _asking(questions: IO[str], answers: IO[str]) -> Callable[[], float]:
    def ask() -> float:
        questions.write("\n")
        questions.flush()
        return float(answers.readline())

    return ask


def _serve(device: str) -> None:
    with far_side(device) as genie:
        model = gpt2(**SIZES).to(genie)
        tokens = torch.arange(32).unsqueeze(0).to(genie)
        for _ in range(WARM):
            _call(model, tokens)
        for _ in sys.stdin:
            print(_call(model, tokens), flush=True)


@torch.no_grad()
def _call(model: Any, tokens: torch.Tensor) -> float:
    start = time.thread_time()
    model(tokens)
    taken = time.thread_time() - start
    synchronize(tokens.device)
    return taken


if __name__ == "__main__":
    _serve(sys.argv[1])
