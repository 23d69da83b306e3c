"""Branches and bodies as programs: in graphs and reports, between threads, of changing values."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from control_flow.programs import Case, numbers
from torch.utils import _pytree as pytree

import genie_core
from genie_core.errors import CaptureError
from genie_plugins.control_flow.branches import cond
from genie_plugins.control_flow.loops import while_loop


@pytest.fixture(autouse=True)
def _connected(device: torch.device) -> None:
    torch.zeros(1, device=device).cpu()


def explained(case: Case, device: torch.device) -> genie_core.explain:
    with genie_core.explain() as found:
        for value in pytree.tree_leaves(case(device)):
            value.cpu()
    return found


def control(found: Any) -> list[torch.fx.Node]:
    nodes = [n for p in found.programs if p.graph for n in p.graph.nodes if "regions" in n.meta]
    assert nodes
    return nodes


def test_a_report_shows_what_branches_do(device: torch.device) -> None:
    def case(d: torch.device) -> torch.Tensor:
        x = numbers(2, 7, device=d)
        return cond(x.sum() > 0, lambda a: a.erf(), lambda a: a.digamma(), (x,))

    found = explained(case, device)
    text = str(found)
    assert "aten.erf(" in text
    assert "aten.digamma(" in text
    (node,) = (n for p in found.as_dict()["programs"] for n in p["nodes"] or [] if n["regions"])
    assert node["op"] == "genie.cond"
    ops = [[inner["op"] for inner in region] for region in node["regions"].values()]
    assert ops == [["aten.erf", "genie.return_values"], ["aten.digamma", "genie.return_values"]]


def test_ops_of_a_region_know_their_module_and_line(device: torch.device) -> None:
    layer = torch.nn.Linear(3, 3).to(device)

    def case(d: torch.device) -> torch.Tensor:
        x = numbers(2, 3, device=d)
        with torch.no_grad():
            return cond(x.sum() > 0, layer, lambda a: a * 5.5, (x,))

    (node,) = control(explained(case, device))
    yes, no = node.meta["regions"].values()
    (linear,) = (n for n in yes.nodes if n.meta.get("op") == "aten::addmm")
    assert linear.meta["genie"].module_type == "Linear"
    assert all("test_regions.py" in n.meta["genie"].origin for n in no.nodes if "op" in n.meta)


def branched(x: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = cond(x.sum() > -77, lambda a: a * 1.25 + x, lambda a: a.exp(), (x,))
    return found


def looped(x: torch.Tensor) -> torch.Tensor:
    return while_loop(lambda a: a.abs().sum() < 77, lambda a: (a * 1.25 + x,), (x,), ())[0]


@pytest.mark.parametrize("call", [branched, looped], ids=lambda call: call.__name__)
def test_a_graph_that_is_run_by_hand_gives_the_same(call: Any, device: torch.device) -> None:
    x = numbers(3, 3, device=device)
    with genie_core.explain() as found:
        y = call(x).cpu()
    graph = next(p.graph for p in found.programs if p.graph is not None and control(found))
    assert sum(n.op == "placeholder" for n in graph.nodes) == 1
    # (A scan allocates: in a graph that is memory of the CPU, and a factory's is the device's.)
    results = torch.fx.GraphModule(torch.nn.Module(), graph)(x.cpu())
    assert any(torch.equal(result.reshape(-1)[: y.numel()], y.reshape(-1)) for result in results)


def test_known_numbers_that_a_loop_changes_are_known_no_more(device: torch.device) -> None:
    count = torch.arange(3, device=device)  # the host knows it, too
    seen: list[bool] = []

    def body(x: torch.Tensor) -> tuple[torch.Tensor]:
        count.add_(1)
        seen.append(True)
        return (x + count,)

    (found,) = while_loop(lambda x: x.sum() < 50, body, (torch.zeros_like(count),), ())
    truth, state = torch.zeros(3, dtype=torch.int64), torch.arange(3)
    while truth.sum() < 50:
        state += 1
        truth = truth + state
    assert torch.equal(found.cpu(), truth)
    assert torch.equal(count.cpu(), state)
    assert len(seen) == 2  # the first time it was taken for a constant


def test_deciding_by_a_number_that_the_loop_changes_is_refused(device: torch.device) -> None:
    count = torch.zeros(1, dtype=torch.int64, device=device)

    def body(x: torch.Tensor) -> tuple[torch.Tensor]:
        if count < 2:
            x = x + 1
        count.add_(1)
        return (x,)

    with pytest.raises(CaptureError, match="test_regions.py"):
        while_loop(lambda x: x.sum() < 5, body, (torch.zeros(3, device=device),), ())


def test_what_is_uploaded_in_a_body_is_new_in_each_iteration(device: torch.device) -> None:
    def body(x: torch.Tensor) -> tuple[torch.Tensor]:
        step = torch.tensor([1.0, 2.0, 3.0]).to(x.device)
        return (x + step.mul_(2),)

    start = torch.zeros(3, device=device)
    (found,) = while_loop(lambda x: x.sum() < 40, body, (start,), ())
    assert found.cpu().tolist() == [8.0, 16.0, 24.0]
    assert start.cpu().tolist() == [0.0, 0.0, 0.0]


def test_other_threads_wait_while_a_branch_is_recorded(device: torch.device) -> None:
    x = numbers(4, device=device)
    begun, results = threading.Event(), []

    def other() -> None:
        begun.wait()
        results.append((x * 3).cpu())

    def branch(a: torch.Tensor) -> torch.Tensor:
        begun.set()
        thread.join(0.05)  # it cannot end before this
        return a + 1

    thread = threading.Thread(target=other)
    thread.start()
    y = cond(x.sum() > -99, branch, lambda a: a - 1, (x,))
    assert torch.equal(y.cpu(), x.cpu() + 1)
    thread.join(30)
    assert torch.equal(results[0], x.cpu() * 3)


def test_a_branch_may_differentiate(device: torch.device) -> None:
    def cube_gradient(a: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            leaf = a.detach().requires_grad_()
            leaf.pow(3).sum().backward()
        return leaf.grad

    x = numbers(4, device=device)
    y = cond(x.sum() > -99, cube_gradient, lambda a: a.clone(), (x,))
    assert torch.equal(y.cpu(), cube_gradient(x.cpu()))


def test_an_op_whose_layout_the_executor_knows_is_asked_about(device: torch.device) -> None:
    x = numbers(3, 5, 2, device=device)
    y = cond(x.sum() > -99, lambda a: a.roll(1, 0), lambda a: a.clone(), (x,))
    assert torch.equal(y.cpu(), x.cpu().roll(1, 0))


def test_shapes_that_data_decide_are_refused_in_a_branch(device: torch.device) -> None:
    x = numbers(4, device=device)
    with pytest.raises(CaptureError, match="test_regions.py"):
        cond(x.sum() > 0, lambda a: a.nonzero(), lambda a: a.nonzero(), (x,))
    assert torch.equal((x > 0).nonzero().cpu(), (x.cpu() > 0).nonzero())


def test_a_generator_made_outside_goes_on_inside(device: torch.device) -> None:
    def draw(d: torch.device) -> torch.Tensor:
        generator = torch.Generator(d).manual_seed(7)
        x = torch.rand(3, generator=generator, device=d)
        if d.type != "cpu":
            more = lambda a: a + torch.rand(3, generator=generator, device=d)  # noqa: E731
            return cond(x.sum() > -1, more, more, (x,))
        return x + torch.rand(3, generator=generator)

    assert torch.equal(draw(device).cpu(), draw(torch.device("cpu")))
