"""Warnings of work that keeps becoming new programs."""

from __future__ import annotations

from typing import Any

import pytest
import structlog
import torch


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> Any:
    from genie_plugins.churn import watch as module

    logs = structlog.testing.LogCapture()
    monkeypatch.setattr(module, "watch", module.Watch())
    monkeypatch.setattr(module, "_log", structlog.wrap_logger(None, processors=[logs]))
    return lambda: [e for e in logs.entries if e["event"] == "programs.keep_changing"]


def test_a_loop_of_changing_structure_is_named_with_what_changes(genie: Any, warnings: Any) -> None:
    x = torch.ones(3, device=genie)
    for count in range(1, 10):
        parts = [x * 2] * count
        assert torch.cat(parts).tolist() == [2.0] * 3 * count
    (warning,) = warnings()
    assert warning["programs"] == 8
    assert "test_churn.py" in warning["begins_at"]
    assert "test_churn.py" in warning["differs_at"]
    assert "8 x float32[1]), and is aten::cat(9 x float32[1])" in warning["difference"]


def test_sizes_and_numbers_may_vary(genie: Any, warnings: Any) -> None:
    for size in range(2, 40):
        x = torch.ones(size, device=genie)
        assert (x * size).sum().item() == size * size
    assert warnings() == []


def test_other_work_at_the_same_place_is_no_churn(genie: Any, warnings: Any) -> None:
    def run(op: Any, times: int) -> None:
        x = torch.ones(3, device=genie)
        for _ in range(times):
            x = op(x)
        x.tolist()

    for times, op in enumerate([torch.sin, torch.cos, torch.exp, torch.neg, torch.abs] * 2):
        run(op, 3 + times)
    assert warnings() == []


def test_many_places_are_no_churn(genie: Any, warnings: Any) -> None:
    x = torch.ones(3, device=genie)
    assert x.sin().tolist() == torch.ones(3).sin().tolist()
    assert x.cos().tolist() == torch.ones(3).cos().tolist()
    assert x.exp().tolist() == torch.ones(3).exp().tolist()
    assert x.neg().tolist() == [-1.0] * 3
    assert x.abs().tolist() == [1.0] * 3
    assert x.sqrt().tolist() == [1.0] * 3
    assert x.floor().tolist() == [1.0] * 3
    assert x.ceil().tolist() == [1.0] * 3
    assert x.square().tolist() == [1.0] * 3
    assert warnings() == []
