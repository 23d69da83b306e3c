"""What remote execution costs: whole models over TCP on loopback, against local eager."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import nn

from ._measure import far_side, gpt2

# Steps that a side takes in its turn: what an executor still does after a step's value was read
# falls into its own next step, not into the other side's.
BLOCK = 5
GENERATED = 24  # tokens a call of `generate`
Step = Callable[[], torch.Tensor]  # one step; what it returns was read, so it lies on the CPU


@attrs.frozen
class Workload:
    """A model at work. Data is in bytes a unit; `settled` is the steps until it is steady.

    A step does `units` units of work (tokens): times and counts are a unit's.
    """

    model: str
    mode: str
    make: Callable[[torch.device], Step]
    bar: float
    steps: int
    data_up: int = 0
    data_down: int = 0
    settled: int = 2
    units: int = 1


@attrs.define
class Tally:
    """What one side of a workload did: seconds a step, and the values it read."""

    times: list[float] = attrs.field(factory=list)
    values: list[torch.Tensor] = attrs.field(factory=list)

    def run(self, step: Step) -> None:
        """Take one step."""
        start = time.perf_counter()
        value = step()
        self.times.append(time.perf_counter() - start)
        self.values.append(value)

    def median_ms(self, settled: int) -> float:
        """The median step, the first `settled` left out."""
        return statistics.median(self.times[settled:]) * 1e3


def run(device: str = "remote_accelerator") -> list[dict[str, Any]]:
    """A row for each workload; bytes and round trips are a step's, in the steady state."""
    with far_side(device) as genie:
        return [_measure(workload, genie) for workload in _workloads()]


def _workloads() -> list[Workload]:
    return [
        _mlp(64, 256, fed=False, bar=1.3),
        _mlp(64, 256, fed=True, bar=1.3),
        _mlp(256, 1024, fed=False, bar=1.1),
        _mlp(256, 1024, fed=True, bar=1.1),
        Workload("GPT-2 small", "forward of 32 tokens", _forward, 1.05, 14, 0, 50257 * 4),
        Workload("GPT-2 small", "greedy decode, a token", _decode, 1.1, 43, 0, 8, settled=3),
        Workload("GPT-2 small", "generate(), a token", _generate, 1.1, 5, units=GENERATED),
    ]


def _mlp(batch: int, width: int, *, fed: bool, bar: float) -> Workload:
    mode = f"train B={batch} H={width}, " + ("batch fed" if fed else "data resident")
    steps = 200 if width < 1024 else 100
    fed_bytes = batch * width * 4 + batch * 8 if fed else 0
    make = _training(batch, width, fed)
    return Workload("3-layer MLP + Adam", mode, make, bar, steps, fed_bytes, data_down=4)


def _training(batch: int, width: int, fed: bool) -> Callable[[torch.device], Step]:
    def make(device: torch.device) -> Step:
        torch.manual_seed(0)
        images, labels = torch.randn(batch, width), torch.randint(10, (batch,))
        hidden = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        model = nn.Sequential(*hidden, nn.Linear(width, 10)).to(device)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        data = (images, labels) if fed else (images.to(device), labels.to(device))

        def step() -> torch.Tensor:
            x, y = (part.to(device) for part in data)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return torch.tensor(loss.item())

        return step

    return make


def _forward(device: torch.device) -> Step:
    model = gpt2().to(device)
    tokens = torch.arange(32).unsqueeze(0).to(device)

    @torch.no_grad()
    def step() -> torch.Tensor:
        logits: torch.Tensor = model(tokens).logits
        return logits[:, -1].cpu()

    return step


def _decode(device: torch.device) -> Step:
    from transformers import DynamicCache

    model = gpt2().to(device)
    token = torch.arange(16).unsqueeze(0).to(device)
    cache = DynamicCache(config=model.config)

    @torch.no_grad()
    def step() -> torch.Tensor:
        nonlocal token
        logits = model(token, past_key_values=cache, use_cache=True).logits
        token = logits[:, -1:].argmax(-1)
        return torch.tensor(token.item())

    return step


def _generate(device: torch.device) -> Step:
    model = gpt2().to(device)
    prompt = torch.arange(16).unsqueeze(0).to(device)

    def step() -> torch.Tensor:
        mask = torch.ones_like(prompt)
        wanted = {"max_new_tokens": GENERATED, "do_sample": False, "pad_token_id": 0}
        tokens: torch.Tensor = model.generate(prompt, attention_mask=mask, **wanted)
        return tokens.cpu()

    return step


@attrs.frozen
class Counts:
    """What a device counted, as plain numbers; zeros where nothing counts."""

    flushes: int = 0
    round_trips: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    programs_built: int = 0
    program_hits: int = 0

    @classmethod
    def now(cls, device: torch.device) -> Counts:
        """The counts of `device` since they were last set to zero."""
        if device.type == "cpu":
            return cls()
        import genie_core

        stats = genie_core.stats(device)
        plain = attrs.fields_dict(cls).keys() - {"flushes"}
        return cls(sum(stats.flushes.values()), **{name: getattr(stats, name) for name in plain})

    def since(self, before: Counts) -> Counts:
        """The difference to an earlier count."""
        return Counts(
            *(a - b for a, b in zip(attrs.astuple(self), attrs.astuple(before), strict=True))
        )


def _measure(workload: Workload, genie: torch.device) -> dict[str, Any]:
    sides = [(workload.make(torch.device("cpu")), Tally()), (workload.make(genie), Tally())]
    start = Counts.now(genie)
    _take_turns(sides, workload.settled)
    settled = Counts.now(genie)
    left = workload.steps - workload.settled
    for done in range(0, left, BLOCK):
        _take_turns(sides, min(BLOCK, left - done))
    end = Counts.now(genie)
    local, remote = (tally for _, tally in sides)
    return _row(workload, local, remote, end.since(settled), end.since(start))


def _take_turns(sides: list[tuple[Step, Tally]], count: int) -> None:
    for step, tally in sides:
        for _ in range(count):
            tally.run(step)


def _row(
    workload: Workload, local: Tally, remote: Tally, steady: Counts, total: Counts
) -> dict[str, Any]:
    units = (workload.steps - workload.settled) * workload.units
    sides = (local, remote)
    local_ms, remote_ms = (s.median_ms(workload.settled) / workload.units for s in sides)
    up, down = steady.bytes_up / units, steady.bytes_down / units
    ratio = remote_ms / local_ms
    return {
        "model": workload.model,
        "mode": workload.mode,
        "local_ms": local_ms,
        "remote_ms": remote_ms,
        "ratio": ratio,
        "bar": workload.bar,
        "met": ratio <= workload.bar,
        "same_bits": all(map(torch.equal, local.values, remote.values)),
        "bytes_up": round(up),
        "bytes_down": round(down),
        "bytes_up_besides_data": round(up - workload.data_up),
        "bytes_down_besides_data": round(down - workload.data_down),
        "round_trips": steady.round_trips / units,
        "programs_built": total.programs_built,
        "program_hits": total.program_hits,
        "steady_hit_rate": steady.program_hits / steady.flushes if steady.flushes else None,
    }
