"""Runs trials, each on the CPU and on a device, and sums up what came of them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent import futures
from typing import Any, Protocol

import attrs
import torch
from conformance.compare import difference, same_bits
from conformance.verdicts import At, Case, Verdict, said
from conformance.ways import NothingToDo, Place


@attrs.frozen
class Ran:
    """What a trial returned and the arguments that it had, as they are afterwards.

    `everywhere` says that all results must be where the trial ran.
    """

    result: Any
    arguments: list[torch.Tensor]
    everywhere: bool


class Trial(Protocol):
    """Something that runs on any device, and there does what it does on the CPU."""

    @property
    def title(self) -> str: ...

    @property
    def before(self) -> list[torch.Tensor]:
        """The arguments as they are before it runs."""

    def run(self, place: Place) -> Ran: ...


@attrs.define
class _Sum:
    samples: int = 0
    loose: int = 0
    failures: list[str] = attrs.Factory(list)
    excluded: list[str] = attrs.Factory(list)

    def verdict(self, case: Case, way: str, values: bool) -> Verdict:
        run = self.samples - len(self.excluded)
        status = "failed" if self.failures else "passed" if run else "excluded"
        reason = self.failures or ([] if run else self.excluded or ["no samples"])
        counts = (self.samples, len(self.failures), len(self.excluded), self.loose)
        kind = (case.kind, case.name, case.dtype, way, status)
        return Verdict(*kind, *counts, reason="".join(reason[:1]))


def examine_trials(
    case: Case, way: str, trials: Iterable[Trial], at: At, *, values: bool = True
) -> Verdict | None:
    """The verdict on all of `trials`, None if none of them has a part in this way."""
    total = _Sum()
    for number, trial in enumerate(trials):
        at(way, number)
        try:
            want = trial.run("cpu")
        except NothingToDo:
            continue
        except Exception as error:
            total.samples += 1
            total.excluded.append(f"the CPU refuses: {said(error)}")
            continue
        total.samples += 1
        _judge(total, trial, want, torch.device(case.device), values)
    return total.verdict(case, way, values) if total.samples else None


def _judge(total: _Sum, trial: Trial, want: Ran, device: torch.device, values: bool) -> None:
    try:
        got = trial.run(device)
        problem = _difference(trial, want, got, device, values)
        if problem.startswith("value") and not _repeatable(trial, want):
            problem = _difference(trial, want, got, device, values, loosely=True)
            total.loose += not problem
    except Exception as error:
        problem = said(error)
    if problem:
        total.failures.append(": ".join(filter(None, (trial.title, problem))))


def _difference(
    trial: Trial, want: Ran, got: Ran, device: torch.device, values: bool, *, loosely: bool = False
) -> str:
    where = device.type if got.everywhere else None
    problem = difference(want.result, got.result, where, values=values, loosely=loosely)
    if problem or not values:
        return problem
    for before, left, right in zip(trial.before, want.arguments, got.arguments, strict=True):
        if not _same(before, left):
            problem = problem or difference(left, right, loosely=loosely)
    return problem and f"{problem} (an argument that is written to)"


def _same(before: torch.Tensor, after: torch.Tensor) -> bool:
    plain = before.layout == after.layout == torch.strided and not before.is_quantized
    if not plain or before.shape != after.shape:
        return not plain
    before, after = (tensor.detach().resolve_neg() for tensor in (before, after))
    return same_bits(before, after)


def _repeatable(trial: Trial, want: Ran) -> bool:
    """Whether the CPU gives the same bits again, also in threads, as an executor runs in one.

    Some of LAPACK's kernels depend on where their work space lies.
    """
    with futures.ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: _single_threaded(trial), range(16)))
    again += [trial.run("cpu") for _ in range(4)]
    return not any(difference(want.result, ran.result) for ran in again)


def _single_threaded(trial: Trial) -> Ran:
    torch.set_num_threads(1)
    return trial.run("cpu")
