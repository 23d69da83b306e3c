"""Entries of torch's databases of operators and modules, each examined in every way it has."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import torch
from conformance import exclusions, modules
from conformance.samples import arguments, mentions, on
from conformance.trials import Ran, examine_trials
from conformance.verdicts import At, Case, Verdict, said, verdict_of
from conformance.ways import WAYS, Place, Way

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "complex64": torch.complex64,
    "int64": torch.int64,
    "bool": torch.bool,
}
# What these return is whatever was in memory: only its metadata can be compared.
UNINITIALISED = {
    "empty",
    "empty_like",
    "empty_permuted",
    "empty_strided",
    "new_empty",
    "new_empty_strided",
    "resize_",
    "resize_as_",
}


@functools.cache
def database() -> list[Any]:
    """The OpInfo database of the installed torch."""
    with warnings.catch_warnings():
        # torch's test utilities try optional packages and warn of those that are not there.
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db

    return list(op_db)


def full_name(op: Any) -> str:
    """The entry's name with that of its variant."""
    return f"{op.name}.{op.variant_test_name}" if op.variant_test_name else str(op.name)


def names(kind: str) -> list[str]:
    """The names of the entries of a database, each once."""
    if kind == "module":
        return list(dict.fromkeys(str(info.name) for info in modules.database()))
    return list(dict.fromkeys(map(full_name, database())))


def all_cases(
    device: str,
    wanted: Callable[[str], object],
    max_samples: int = 0,
    *,
    kinds: Iterable[str] = ("op", "module"),
    dtypes: Iterable[str] = tuple(DTYPES),
) -> list[Case]:
    """A case for each wanted entry and each of `dtypes` that it has on the CPU."""
    found = []
    for kind in kinds:
        entries = database() if kind == "op" else modules.database()
        for index, entry in enumerate(entries):
            name = full_name(entry) if kind == "op" else str(entry.name)
            has = [d for d in dtypes if wanted(name) and _has_dtype(kind, entry, DTYPES[d])]
            found += [Case(kind, index, name, dtype, device, max_samples) for dtype in has]
    return found


def _has_dtype(kind: str, entry: Any, dtype: torch.dtype) -> bool:
    if kind == "module":
        return modules.has_dtype(entry, dtype)
    return dtype in entry.supported_dtypes("cpu")


@attrs.frozen
class OpTrial:
    """An operator, used in some way with one of the database's samples."""

    op: Any
    sample: Any
    way: Way
    grad: bool
    title: str = ""

    @property
    def before(self) -> list[torch.Tensor]:
        return arguments(self.sample)

    def run(self, place: Place) -> Ran:
        """Copy the sample to `place` and use the op there."""
        there = on(self.op, self.sample, place, grad=self.grad)
        given = arguments(there)
        everywhere = mentions(torch.device(place), there)
        return Ran(self.way.run(self.op, there, place), given, everywhere)


def examine(case: Case, at: At) -> list[Verdict]:
    """Run all samples of `case` in all ways; `at` is told of each before it runs."""
    if reason := exclusions.reason(case.name, case.dtype):
        return [verdict_of(case, "forward", "excluded", reason)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _module(case, at) if case.kind == "module" else _op(case, at)
    return [verdict for verdict in found if verdict is not None]


def _op(case: Case, at: At) -> list[Verdict | None]:
    op, dtype = database()[case.index], DTYPES[case.dtype]
    try:
        samples = _samples(op, dtype, case.max_samples)
    except Exception as error:
        return [verdict_of(case, "forward", "excluded", f"no samples: {said(error)}")]
    values = op.name not in UNINITIALISED
    found = []
    for way in WAYS:
        if way.applies(op, dtype):
            trials = [OpTrial(op, sample, way, way.grad(op, dtype)) for sample in samples]
            found.append(examine_trials(case, way.name, trials, at, values=values))
    return found


def _samples(op: Any, dtype: torch.dtype, max_samples: int) -> list[Any]:
    torch.manual_seed(0)
    grad = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
    samples = list(op.sample_inputs("cpu", dtype, requires_grad=grad))
    step = -(-len(samples) // max_samples) if max_samples else 1
    return samples[::step]


def _module(case: Case, at: At) -> list[Verdict | None]:
    info, dtype = modules.database()[case.index], DTYPES[case.dtype]
    found = []
    for way in modules.WAYS:
        try:
            trials = list(modules.trials(info, dtype, way, case.max_samples))
        except Exception as error:
            found.append(verdict_of(case, way, "excluded", f"no samples: {said(error)}"))
            continue
        found.append(examine_trials(case, way, trials, at))
    return found
