"""What rewrites gain: programs with every pass on, against the same without any.

Each workload runs on two executors, processes of their own that take turns. `error` is the largest
difference that an executor found when it compared a rewrite with its program.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from torch import nn

from ._measure import far_side, gpt2, medians, seconds

Step = Callable[[], object]
WARM = 4


@attrs.frozen
class Workload:
    """Something that a pass makes faster; `make` gives a step of it on a device."""

    name: str
    bar: float
    make: Callable[[torch.device], Step]
    rounds: int = 30


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each workload."""
    with far_side(device) as rewritten, far_side(device) as plain:
        return [_measure(workload, rewritten, plain) for workload in _workloads()]


def _workloads() -> list[Workload]:
    return [
        Workload("attention in four ops, 512 tokens", 1.2, _attention),
        Workload("decode with a growing KV cache, 2,048 tokens, batch 4", 1.5, _decode),
        Workload("six depthwise separable convolutions with batch norm, eval", 1.1, _convolutions),
        Workload("LSTM cells, 64 steps of 128, batch 16", 2.0, _cells),
    ]


def _measure(workload: Workload, rewritten: torch.device, plain: torch.device) -> dict[str, Any]:
    runs = {}
    known = {one.program for one in _outcomes(rewritten)}
    for name, device, passes in (("rewritten", rewritten, "all"), ("plain", plain, "-all")):
        with _passes(passes), torch.no_grad():
            step = workload.make(device)
            for _ in range(WARM):
                step()
        runs[name] = _timed(step, passes)
    with torch.no_grad():
        median = medians(runs, workload.rounds)
    outcomes = [one for one in _outcomes(rewritten) if one.program not in known]
    gain = median["plain"] / median["rewritten"]
    return {
        "workload": workload.name,
        "rewritten_ms": median["rewritten"] * 1e3,
        "plain_ms": median["plain"] * 1e3,
        "gain": gain,
        "bar": workload.bar,
        "met": gain >= workload.bar,
        "error": max((one.error for one in outcomes if one.state == "accepted"), default=0.0),
        "refused": sum(one.state == "refused" for one in outcomes),
    }


def _timed(step: Step, passes: str) -> Callable[[], float]:
    def timed() -> float:
        with _passes(passes):
            return seconds(step)

    return timed


@contextlib.contextmanager
def _passes(names: str) -> Iterator[None]:
    """Have programs that are first seen meanwhile rewritten by these passes."""
    from genie_plugins.passes import rewriting

    before = os.environ.get("GENIE_PASSES", "")
    os.environ["GENIE_PASSES"] = names
    rewriting.passes.cache_clear()
    try:
        yield
    finally:
        os.environ["GENIE_PASSES"] = before
        rewriting.passes.cache_clear()


def _outcomes(device: torch.device) -> list[Any]:
    if device.type == "cpu":
        return []
    return list(getattr(torch, device.type).rewrites(device))


# Workloads -----------------------------------------------------------------------------------


def _attention(device: torch.device) -> Step:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 8, 512, 64).to(device)

    def attend() -> torch.Tensor:
        weights = torch.softmax(query @ key.transpose(-2, -1) / 8.0, dim=-1)
        return weights @ value

    return lambda: attend().cpu()


def _decode(device: torch.device) -> Step:
    sizes = {"n_layer": 6, "n_embd": 512, "n_head": 8, "n_positions": 2400, "vocab_size": 1000}
    model = gpt2(**sizes).to(device)
    state: dict[str, Any] = {"past_key_values": None}
    tokens = torch.arange(4 * 2048, device=device).reshape(4, 2048) % 1000

    def step() -> object:
        nonlocal tokens
        out = model(input_ids=tokens, use_cache=True, **state)
        state["past_key_values"] = out.past_key_values
        tokens = out.logits[:, -1:].argmax(-1)
        return tokens.cpu()

    return step


def _convolutions(device: torch.device) -> Step:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in range(6):
        layers += [nn.Conv2d(64, 64, 3, padding=1, groups=64, bias=False), nn.BatchNorm2d(64)]
        layers += [nn.ReLU(), nn.Conv2d(64, 64, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    model = nn.Sequential(*layers).eval().to(device)
    images = torch.randn(4, 64, 56, 56).to(device)
    return lambda: model(images).cpu()


def _cells(device: torch.device) -> Step:
    torch.manual_seed(0)
    cell = nn.LSTMCell(128, 128).to(device)
    inputs = torch.randn(64, 16, 128).to(device)

    def step() -> object:
        hidden = cell_state = torch.zeros(16, 128, device=device)
        for each in inputs:
            hidden, cell_state = cell(each, (hidden, cell_state))
        return hidden.cpu()

    return step
