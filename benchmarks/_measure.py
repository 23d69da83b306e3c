"""What the benchmarks share: a far side, medians of runs that take turns, GPT-2."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

THREADS = 1


@contextlib.contextmanager
def far_side(device: str) -> Iterator[torch.device]:
    """A device whose executor is a process of its own, on TCP loopback, with one thread.

    "cpu" is this process's CPU: a rehearsal of the benchmark.
    """
    torch.set_num_threads(THREADS)
    if device == "cpu":
        yield torch.device("cpu")
        return
    import genie_core
    from genie_plugins.demo.launch import executor_process

    with executor_process(threads=THREADS) as executor:
        yield genie_core.connect(executor.url)


def synchronize(device: torch.device) -> None:
    """Wait until all that was asked of `device` is done."""
    if device.type == "lazy":
        from torch import _lazy

        _lazy.mark_step()
        _lazy.wait_device_ops()
    elif device.type != "cpu":
        getattr(torch, device.type).synchronize(device)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def medians(runs: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    """The median of each run's figure, the runs taking turns so that noise meets them alike."""
    figures: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            figures[name].append(run())
    return {name: statistics.median(values) for name, values in figures.items()}


def gpt2(**config: object) -> Any:
    """An unmodified GPT-2 of transformers, with random weights."""
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**{"bos_token_id": 0, "eos_token_id": None, **config}))
    return model.eval()
