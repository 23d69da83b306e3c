"""Settings of the client's process that change results hold on the executor, op by op."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
import torch


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def test_the_default_dtype(remote_device: torch.device) -> None:
    numbers = torch.tensor([1, 2, 3], device=remote_device)
    with default_dtype(torch.float64):
        wide = numbers / 3
        ones = torch.ones(2, device=remote_device)
    narrow = numbers / 3
    assert wide.dtype == ones.dtype == torch.float64
    assert narrow.dtype == torch.float32
    assert torch.equal(wide.cpu(), torch.tensor([1, 2, 3], dtype=torch.float64) / 3)
    assert torch.equal(narrow.cpu(), torch.tensor([1, 2, 3]) / 3)


def test_one_program_may_change_it_midway(remote_device: torch.device) -> None:
    numbers = torch.tensor([5, 7], device=remote_device)
    results = []
    for dtype in (torch.float64, torch.float32, torch.float64):
        with default_dtype(dtype):
            results.append(numbers.sqrt())
    for result, dtype in zip(results, (torch.float64, torch.float32, torch.float64), strict=True):
        assert torch.equal(result.cpu(), torch.tensor([5, 7]).to(dtype).sqrt())


def test_deterministic_mode_reaches_the_executor(remote_device: torch.device) -> None:
    pooled, where = torch.nn.functional.max_pool2d(torch.rand(1, 1, 4, 4), 2, return_indices=True)
    there = pooled.to(remote_device), where.to(remote_device)
    unpool = torch.nn.functional.max_unpool2d
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="deterministic"):
            unpool(pooled, where, 2)
        with pytest.raises(RuntimeError, match="deterministic"):
            unpool(*there, 2).cpu()
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(unpool(*there, 2).cpu(), unpool(pooled, where, 2))


def test_the_executors_own_settings_come_back(remote_device: torch.device) -> None:
    with default_dtype(torch.float64):
        (torch.tensor([1], device=remote_device) / 2).cpu()
    again = torch.tensor([1], device=remote_device) / 2
    assert again.cpu().dtype == torch.float32
