"""torch's control flow on the device: the CPU's results to the bit, and no value read for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from control_flow.programs import CPU, FORWARD, GRADIENTS, Case, loop_gradients, numbers, while_loop
from torch.utils import _pytree as pytree

import genie_core
from genie_core.errors import CaptureError, RemoteError


def on_cpu(values: Any) -> list[torch.Tensor]:
    leaves = [leaf for leaf in pytree.tree_leaves(values) if leaf is not None]
    return [leaf.detach().cpu() for leaf in leaves]


def assert_same(case: Case, found: Any) -> None:
    for ours, truth in zip(on_cpu(found), on_cpu(case(CPU)), strict=True):
        assert torch.equal(ours, truth), (ours, truth)
        assert ours.stride() == truth.stride()


@pytest.fixture(autouse=True)
def _connected(device: torch.device) -> None:
    torch.zeros(1, device=device).cpu()


def round_trips(device: torch.device) -> int:
    return genie_core.stats(device).round_trips


@pytest.mark.parametrize("case", [*FORWARD, *GRADIENTS], ids=lambda case: case.__name__)
def test_it_gives_what_the_cpu_gives_and_reads_nothing(case: Case, device: torch.device) -> None:
    before = round_trips(device)
    found = case(device)
    assert round_trips(device) == before
    assert_same(case, found)


def test_a_loop_that_is_differentiated_waits_once(device: torch.device) -> None:
    before = round_trips(device)
    found = loop_gradients(device)
    assert round_trips(device) == before + 1  # how often it went round decides shapes
    assert_same(loop_gradients, found)


@pytest.mark.parametrize("case", FORWARD, ids=lambda case: case.__name__)
def test_the_second_run_builds_no_program(case: Case, device: torch.device) -> None:
    for _ in range(3):
        on_cpu(case(device))
    before = genie_core.stats(device).programs_built
    on_cpu(case(device))
    assert genie_core.stats(device).programs_built == before


def test_other_numbers_take_the_other_branch_of_the_same_program(device: torch.device) -> None:
    def run(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda a: a + 1, lambda a: a * 2, (x,))

    for seed in range(6):
        x = numbers(3, device=device, seed=seed)
        assert torch.equal(run(x).cpu(), run(x.cpu()))


def test_random_numbers_in_a_loop_are_the_executors(device: torch.device) -> None:
    def draw(d: torch.device) -> list[torch.Tensor]:
        torch.manual_seed(3)
        zero = torch.zeros((), device=d)

        def body(i: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return i + 1, x + torch.rand_like(x)

        found = while_loop(lambda i, _: i < 4, body, (zero, torch.zeros(5, device=d)))
        return [found[1].cpu(), torch.rand(2, device=d).cpu()]

    for ours, truth in zip(draw(device), draw(CPU), strict=True):
        assert torch.equal(ours, truth)


def test_a_loop_writes_to_what_is_outside(device: torch.device) -> None:
    def run(d: torch.device) -> torch.Tensor:
        seen = torch.zeros(6, device=d)
        zero = torch.zeros(1, dtype=torch.int64, device=d)

        def body(i: torch.Tensor) -> tuple[torch.Tensor]:
            seen.index_add_(0, i, (i + 1).float())
            return (i + 1,)

        while_loop(lambda i: (i < 5).squeeze(), body, (zero,))
        return seen.cpu()

    with torch.no_grad():
        assert torch.equal(run(device), run(CPU))


def test_reading_in_a_branch_names_the_line(device: torch.device) -> None:
    from genie_plugins.control_flow.branches import cond

    x = numbers(3, device=device)
    with pytest.raises(CaptureError, match=r"test_control_flow.py:\d+ .*torch.where"):
        cond(x.sum() > 0, lambda a: a * float(a[0]), lambda a: a, (x,))
    assert torch.equal((x + 1).cpu(), x.cpu() + 1)  # and nothing else is spoilt


def test_what_a_branch_made_is_nothing_outside_of_it(device: torch.device) -> None:
    from genie_plugins.control_flow.branches import cond

    leaked: list[torch.Tensor] = []

    def leak(a: torch.Tensor) -> torch.Tensor:
        leaked.append(a + 1)
        return leaked[-1] * 2

    x = numbers(3, device=device)
    cond(x.sum() > 0, leak, leak, (x,))
    with pytest.raises(RuntimeError, match="return it from there"):
        leaked[0] + 1


def test_branches_that_give_different_things_are_refused(device: torch.device) -> None:
    from genie_plugins.control_flow.branches import cond

    x = numbers(3, device=device)
    with pytest.raises(CaptureError, match="let both give the same"):
        cond(x.sum() > 0, lambda a: a, lambda a: a[:2].clone(), (x,))


def test_branches_may_lay_their_results_out_differently(device: torch.device) -> None:
    from genie_plugins.control_flow.branches import cond

    x = numbers(3, 4, device=device)
    for flag in (x.sum() > -99, x.sum() > 99):
        y = cond(flag, lambda a: a.t().contiguous(), lambda a: (a + 1).t(), (x,))
        assert torch.equal(y.cpu(), (x.cpu() + (0 if flag else 1)).t())


def test_a_result_may_be_what_is_outside(device: torch.device) -> None:
    from genie_plugins.control_flow.branches import cond

    x = numbers(3, device=device)
    y, z = cond(x.sum() > -99, lambda a: (a, a), lambda a: (a + 1, a), (x,))
    y.add_(1)  # results are tensors of their own
    assert torch.equal(x.cpu(), z.cpu())
    assert torch.equal(y.cpu(), x.cpu() + 1)


def test_a_failure_in_a_loop_names_the_op_and_its_line(device: torch.device) -> None:
    table = numbers(3, 2, device=device)
    index = (numbers(1, device=device) * 0).long()

    def body(i: torch.Tensor, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return i + 1, x + table.index_select(0, i).squeeze(0)  # the table has three rows

    loop = while_loop(lambda i, _: (i < 9).squeeze(), body, (index, table[0].clone()))
    with pytest.raises(RemoteError, match="index_select"):
        loop[1].cpu()
    assert torch.equal((table + 1).cpu(), table.cpu() + 1)


def test_a_python_if_reads_and_the_report_names_the_line(device: torch.device) -> None:
    x = numbers(3, device=device)
    with genie_core.explain() as explained:
        if x.sum() > -1e9:
            x = x + 1
    assert any(
        reason == "read" and "test_control_flow.py" in where for reason, where in explained.flushes
    )
    assert "torch.cond" in str(explained)
