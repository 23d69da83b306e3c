"""One entry of torch's OpInfo database, run on a device and on the CPU, sample by sample."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from conformance.compare import difference
from torch.utils._pytree import tree_flatten

DTYPES = {"float32": torch.float32, "int64": torch.int64}
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
# Tensor arguments that must stay on the CPU, on every device.
_HOST_ARGUMENTS = {"tensor_split"}


@attrs.frozen
class Case:
    """An entry of the database (its place and name) and the name of a dtype."""

    index: int
    name: str
    dtype: str
    device: str
    max_samples: int = 0


@attrs.frozen
class Verdict:
    """What became of a case.

    `status` is passed, failed, crashed, hung, excluded (the CPU itself cannot run any sample) or
    not run; `reason` is that of the first failure, or of the exclusion.
    """

    name: str
    dtype: str
    status: str
    samples: int = 0
    failed: int = 0
    excluded: int = 0
    reason: str = ""


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


def all_cases(device: str, wanted: Callable[[str], object], max_samples: int = 0) -> list[Case]:
    """A case for each wanted entry and each dtype of `DTYPES` that it has on the CPU."""
    return [
        Case(index, full_name(op), name, device, max_samples)
        for index, op in enumerate(database())
        if wanted(full_name(op))
        for name, dtype in DTYPES.items()
        if dtype in op.supported_dtypes("cpu")
    ]


def examine(case: Case, at: Callable[[int], object]) -> Verdict:
    """Run all samples of `case`; `at` is told each sample's number before it runs."""
    op = database()[case.index]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            samples = list(_samples(op, case))
        except Exception as error:
            return Verdict(case.name, case.dtype, "excluded", reason=f"no samples: {said(error)}")
        return _examine(case, op, samples, at)


def _examine(case: Case, op: Any, samples: list[Any], at: Callable[[int], object]) -> Verdict:
    failures, excluded = [], []
    for number, sample in enumerate(samples):
        at(number)
        try:
            want = _call(op, sample.transform(_copy), "cpu")
        except Exception as error:
            excluded.append(f"the CPU refuses: {said(error)}")
            continue
        problem = _problem(op, sample, want, torch.device(case.device))
        if problem.startswith("value") and not _repeatable(op, sample, want):
            excluded.append("the CPU's bits differ from run to run")
        elif problem:
            failures.append(problem)
    run = len(samples) - len(excluded)
    status = "failed" if failures else "passed" if run else "excluded"
    reason = failures or ([] if run else excluded or ["no samples"])
    counts = (len(samples), len(failures), len(excluded))
    return Verdict(case.name, case.dtype, status, *counts, reason="".join(reason[:1]))


def _samples(op: Any, case: Case) -> Iterator[Any]:
    torch.manual_seed(0)
    samples = list(op.sample_inputs("cpu", DTYPES[case.dtype], requires_grad=False))
    step = -(-len(samples) // case.max_samples) if case.max_samples else 1
    yield from samples[::step]


def _copy(value: Any, device: torch.device | str = "cpu") -> Any:
    """A tensor's copy on `device`, with its strides, its offset and what it is a view of."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided or value.is_quantized or value.is_conj() or value.is_neg():
        return value.to(device, copy=True)
    places = value.untyped_storage().nbytes() // value.element_size()
    if value.is_contiguous() and places == value.numel():
        return value.to(device, copy=True)
    whole = torch.as_strided(value.detach(), (places,), (1,), 0)
    return whole.to(device, copy=True).as_strided(
        value.shape, value.stride(), value.storage_offset()
    )


def _repeatable(op: Any, sample: Any, want: Any) -> bool:
    again = (_call(op, sample.transform(_copy), "cpu") for _ in range(5))
    return not any(difference(want, result) for result in again)


def _problem(op: Any, sample: Any, want: Any, device: torch.device) -> str:
    try:
        there = sample.transform(lambda value: _move(op, value, device))
        got = _call(op, there, str(device))
        anywhere = not _mentions(device, there)
        values = op.name not in UNINITIALISED
        return difference(want, got, None if anywhere else device.type, values=values)
    except Exception as error:
        return said(error)


def _move(op: Any, value: Any, device: torch.device) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    # The first argument always moves; which one this is shows by its rank.
    if op.name in _HOST_ARGUMENTS and value.dim() < 2 and value.dtype == torch.int64:
        return value.clone()
    return _copy(value, device)


def _mentions(device: torch.device, sample: Any) -> bool:
    leaves, _ = tree_flatten((sample.input, sample.args, sample.kwargs))
    tensors = any(leaf.device.type == device.type for leaf in leaves if torch.is_tensor(leaf))
    return tensors or "device" in sample.kwargs


def _call(op: Any, sample: Any, device: str) -> Any:
    kwargs = dict(sample.kwargs)
    if "device" in kwargs:
        kwargs["device"] = device
    # `to` takes its device among the positional arguments.
    args = [device if _is_device(arg) else arg for arg in sample.args]
    torch.manual_seed(1)
    return op(sample.input, *args, **kwargs)


def _is_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (isinstance(value, str) and value == "cpu")


def said(error: Exception) -> str:
    """The kind of `error` and the first line of its message."""
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
