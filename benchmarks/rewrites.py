"""What rewrites gain: programs with every pass on, against the same without any.

`executor`: a step's messages are played again and again on two value stores, which take turns; one
of them was given the rewrites. `step`: the step itself, on two executors that are processes of
their own, recording included. `error` is the largest difference that an executor found when it
compared a rewrite with its program.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import attrs
import msgspec
import torch
from torch import nn

from genie_core import protocol

from ._measure import far_side, gpt2, medians, seconds

Step = Callable[[], object]
WARM = 4


@attrs.frozen
class Workload:
    """Something that a pass makes faster; `make` gives a step of it on a device."""

    name: str
    bar: float
    """The gain that it is to have; below 1 for what is only to cost nothing on a CPU."""
    make: Callable[[torch.device], Step]
    repeats: bool = True
    """Whether a step's messages may be played twice; not where it takes what the last one left."""
    rounds: int = 30


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each workload."""
    with far_side(device) as rewritten, far_side(device) as plain:
        return [_measure(workload, rewritten, plain) for workload in _workloads()]


def _workloads() -> list[Workload]:
    return [
        Workload("attention in four ops, 512 tokens", 1.2, _attention),
        Workload(
            "decode with a growing KV cache, 2,048 tokens, batch 4", 1.5, _decode, repeats=False
        ),
        Workload("six depthwise separable convolutions with batch norm, eval", 1.1, _convolutions),
        Workload("LSTM cells, 64 steps of 64, batch 8", 2.0, partial(_cells, nn.LSTMCell)),
        Workload(
            "GRU cells, 64 steps of 256, batch 8", 0.9, partial(_cells, nn.GRUCell, width=256)
        ),
        Workload(
            "RNN cells, 64 steps of 256, batch 8", 0.9, partial(_cells, nn.RNNCell, width=256)
        ),
        Workload("Adam, 100 parameters of 64 by 64", 1.5, partial(_updates, torch.optim.Adam)),
        Workload(
            "Adam, 100 parameters of 512 by 512",
            1.5,
            partial(_updates, torch.optim.Adam, width=512),
            rounds=10,
        ),
        Workload(
            "AdamW, one by one, 100 parameters of 64 by 64",
            1.5,
            partial(_updates, partial(torch.optim.AdamW, foreach=False)),
        ),
        Workload(
            "SGD with momentum, 100 parameters of 64 by 64",
            1.3,
            partial(_updates, partial(torch.optim.SGD, momentum=0.9)),
        ),
    ]


def _measure(workload: Workload, rewritten: torch.device, plain: torch.device) -> dict[str, Any]:
    known = {one.program for one in _outcomes(rewritten)}
    runs = {}
    for name, device, passes in (("rewritten", rewritten, "all"), ("plain", plain, "-all")):
        with _passes(passes), torch.no_grad():
            step = workload.make(device)
            for _ in range(WARM):
                step()
        runs[name] = _timed(step, passes)
    with torch.no_grad():
        step_ms = medians(runs, workload.rounds)
    outcomes = [one for one in _outcomes(rewritten) if one.program not in known]
    executor_ms = _on_executor(workload) if workload.repeats and rewritten.type != "cpu" else {}
    gains = [ms["plain"] / ms["rewritten"] for ms in (executor_ms, step_ms) if ms]
    return {
        "workload": workload.name,
        **{f"executor_{n}_ms": 1e3 * executor_ms[n] if executor_ms else None for n in runs},
        **{f"step_{name}_ms": 1e3 * ms for name, ms in step_ms.items()},
        "gain": gains[0],
        "gain_of_step": gains[-1],
        "bar": workload.bar,
        "met": gains[0] >= workload.bar,
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


# The executor by itself ----------------------------------------------------------------------


def _on_executor(workload: Workload) -> dict[str, float]:
    """Seconds that a value store takes for a step's messages, with rewrites and without."""
    import genie_core
    from genie_core import _native

    device = genie_core.connect("inproc://")
    with _passes("all"), torch.no_grad(), _tapped(device) as tap:
        step = workload.make(device)
        for _ in range(WARM):
            step()
        before = tap.take()
        step()
        steady = tap.take()
    runs = {}
    for name in ("rewritten", "plain"):
        store = _native.ValueStore("cpu")
        _play(store, before, rewrites=name == "rewritten")
        runs[name] = partial(_played, store, steady)
    return medians(runs, workload.rounds)


class _Tap:
    """A channel that remembers what was sent through it."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        self._sent: list[list[Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def send(self, parts: list[Any]) -> None:
        self._sent.append([bytes(part) for part in parts])
        self._channel.send(parts)

    def take(self) -> list[tuple[Any, bytes]]:
        """The requests since the last time, each with its data."""
        sent, self._sent = self._sent, []
        found = []
        for head, *parts in sent:
            data = iter(parts)
            for request in protocol.decode_requests(head):
                own = next(data) if isinstance(request, protocol.Put) else b""
                found.append((request, own))
        return found


@contextlib.contextmanager
def _tapped(device: torch.device) -> Iterator[_Tap]:
    from genie_core.dispatcher import dispatcher

    session = dispatcher.session(device.index)
    tap = _Tap(session._channel)
    session._channel = tap  # type: ignore[assignment]
    try:
        yield tap
    finally:
        session._channel = tap._channel


def _play(store: Any, requests: list[tuple[Any, bytes]], *, rewrites: bool) -> None:
    """Do what an executor's session does with these requests."""
    for request, data in requests:
        match request:
            case protocol.Put(id=value):
                store.put(value, data)
            case protocol.Free(ids=ids):
                store.free(ids)
            case protocol.Run(payload=payload):
                store.run(payload)
            case protocol.Define(program=program, code=code, rewrite=rewrite):
                store.define(program, *msgspec.structs.astuple(protocol.decode_program(code)))
                if rewrite and rewrites:
                    *fields, _ = msgspec.structs.astuple(protocol.decode_rewrite(rewrite))
                    store.define_rewrite(program, *fields)


def _played(store: Any, requests: list[tuple[Any, bytes]]) -> float:
    return seconds(partial(_play, store, requests, rewrites=False))


# Workloads -----------------------------------------------------------------------------------


def _attention(device: torch.device) -> Step:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, 8, 512, 64).to(device)

    def attend() -> torch.Tensor:
        weights = torch.softmax(query @ key.transpose(-2, -1) / 8.0, dim=-1)
        mixed: torch.Tensor = weights @ value
        return mixed

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


def _cells(kind: Callable[[int, int], nn.Module], device: torch.device, width: int = 64) -> Step:
    torch.manual_seed(0)
    cell = kind(width, width).to(device)
    inputs = torch.randn(64, 8, width).to(device)

    def step() -> object:
        hidden = torch.zeros(8, width, device=device)
        state: Any = (hidden, hidden) if isinstance(cell, nn.LSTMCell) else hidden
        for each in inputs:
            state = cell(each, state)
        return (state[0] if isinstance(state, tuple) else state).cpu()

    return step


def _updates(optimizer: Callable[..., Any], device: torch.device, width: int = 64) -> Step:
    torch.manual_seed(0)
    parameters = [nn.Parameter(torch.randn(width, width).to(device)) for _ in range(100)]
    for one in parameters:
        one.grad = torch.randn(width, width).to(device)
    update = optimizer(parameters, lr=1e-3)

    def step() -> object:
        update.step()
        return parameters[0].detach()[0].cpu()

    return step
