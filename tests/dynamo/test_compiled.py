"""Compiled functions do what eager does, prepared or recorded; and it is told which."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import genie_core
from genie_core.errors import RemoteError

Ways = Callable[[], dict[str, int]]


def by_genie(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return torch.compile(function, backend="genie", **options)


def test_prepared(device: torch.device, ways: Ways) -> None:
    compiled = by_genie(lambda x, y: ((x @ y).relu(), x + 1))
    x, y = torch.randn(3, 3), torch.randn(3, 3)
    for step in range(4):
        got = compiled((x + step).to(device), y.to(device))
        assert {one.device.type for one in got} == {device.type}
        assert torch.equal(got[0].cpu(), ((x + step) @ y).relu())
        assert torch.equal(got[1].cpu(), x + step + 1)
    assert ways() == {"captured": 1, "prepared": 3}


def test_no_recording(device: torch.device) -> None:
    compiled = by_genie(lambda x: x.sin().cos().tan())
    x = torch.randn(4).to(device)
    for _ in range(2):
        compiled(x)
    genie_core.reset_stats(device)
    for _ in range(5):
        x = compiled(x)
    assert genie_core.stats(device).ops == 0
    assert genie_core.stats(device).program_hits == 5


def test_in_order_with_what_is_recorded(device: torch.device) -> None:
    compiled = by_genie(lambda x: x * 2)
    x, local = torch.ones(3).to(device), torch.ones(3)
    for step in range(6):
        x += step
        local += step
        y, z = compiled(x), local * 2
        x -= y
        local -= z
    assert torch.equal(x.cpu(), local)


def test_training(device: torch.device, ways: Ways) -> None:
    def run(where: torch.device, wrap: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layers = [nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1)]
        model = nn.Sequential(*layers).to(where)
        optimizer = torch.optim.Adam(model.parameters())
        called, x = wrap(model), torch.randn(6, 4).to(where)
        torch.manual_seed(1)
        for _ in range(4):
            optimizer.zero_grad()
            called(x).square().mean().backward()
            optimizer.step()
        return [value.detach().cpu() for value in model.state_dict().values()]

    want = run(torch.device("cpu"), lambda model: model)
    got = run(device, by_genie)
    for left, right in zip(want, got, strict=True):
        torch.testing.assert_close(right, left)
    assert ways() == {"captured": 2, "prepared": 6}


def test_random_numbers_go_on(device: torch.device, ways: Ways) -> None:
    compiled = by_genie(lambda x: x + torch.rand_like(x))
    x = torch.zeros(5)
    torch.manual_seed(3)
    want = [x + torch.rand_like(x) for _ in range(4)]
    torch.manual_seed(3)
    got = [compiled(x.to(device)).cpu() for _ in range(4)]
    assert all(map(torch.equal, want, got))
    assert not torch.equal(got[1], got[2])
    assert ways() == {"captured": 1, "prepared": 3}


def test_inputs_that_are_written_to(device: torch.device, ways: Ways) -> None:
    def grow(x: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
        count.add_(1)
        return x.mul_(2) + count

    compiled = by_genie(grow)
    x, count = torch.ones(3).to(device), torch.zeros(1, dtype=torch.int64).to(device)
    local, total = torch.ones(3), torch.zeros(1, dtype=torch.int64)
    for _ in range(4):
        version = x._version
        got, want = compiled(x, count), grow(local, total)
        assert torch.equal(got.cpu(), want)
        assert torch.equal(x.cpu(), local)
        assert int(count) == int(total)  # known on the host before, and no longer
        assert x._version > version
    assert ways() == {"captured": 1, "prepared": 3}


def test_outputs_that_are_inputs_or_lie_on_them(device: torch.device) -> None:
    compiled = by_genie(lambda x: (x, x[1:], x.t(), x + 1))
    for _ in range(3):
        x = torch.arange(6.0).reshape(2, 3).to(device)
        same, part, turned, other = compiled(x)
        x += 10
        local = torch.arange(6.0).reshape(2, 3) + 10
        assert torch.equal(same.cpu(), local)
        assert torch.equal(part.cpu(), local[1:])
        assert torch.equal(turned.cpu(), local.t())
        assert torch.equal(other.cpu(), local - 9)


def test_outputs_that_share_memory(device: torch.device) -> None:
    def parts(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x * 2
        return y, y[0]

    compiled = by_genie(parts)
    for _ in range(3):
        whole, row = compiled(torch.ones(2, 2).to(device))
        row += 5
        assert whole.cpu().tolist() == [[7, 7], [2, 2]]


def test_inputs_on_one_storage_or_not(device: torch.device) -> None:
    compiled = by_genie(lambda x, y: x + 2 * y)
    both = torch.arange(6.0).to(device)
    for _ in range(2):
        assert compiled(both[:3], both[:3]).cpu().tolist() == [0, 3, 6]
        assert compiled(both[:3], both[3:]).cpu().tolist() == [6, 9, 12]
        apart = compiled(torch.ones(3).to(device), torch.zeros(3).to(device))
        assert apart.cpu().tolist() == [1, 1, 1]


def test_inputs_that_nobody_made_yet(device: torch.device) -> None:
    compiled = by_genie(lambda x, y: x.fill_(3) + y)
    for step in range(3):
        made = torch.empty(2, device=device)
        assert (
            compiled(made, torch.full((2,), float(step)).to(device)).cpu().tolist()
            == [3 + step] * 2
        )


@pytest.mark.parametrize("dynamic", [None, True])
def test_shapes(device: torch.device, ways: Ways, dynamic: bool | None) -> None:
    compiled = by_genie(lambda x: (x.sum(0), x.reshape(-1), x.shape[0]), dynamic=dynamic)
    for size in (3, 4, 5, 4, 3, 5, 9):
        x = torch.arange(2.0 * size).reshape(size, 2)
        total, flat, rows = compiled(x.to(device))
        assert torch.equal(total.cpu(), x.sum(0))
        assert torch.equal(flat.cpu(), x.reshape(-1))
        assert rows == size
    assert ways()["prepared"] >= 2


def test_many_shapes(device: torch.device, ways: Ways) -> None:
    from genie_plugins.dynamo.compiled import MOST

    compiled = by_genie(lambda x: x * 2, dynamic=True)
    for size in range(2, MOST + 6):
        assert compiled(torch.ones(size).to(device)).cpu().tolist() == [2.0] * size
    told = ways()
    assert told["captured"] == MOST
    assert told[f"recorded: it met more than {MOST} shapes"] == 4


def test_graph_breaks(device: torch.device) -> None:
    def steps(x: torch.Tensor) -> torch.Tensor:
        x = x * 2
        if x.sum() > 5:
            return x - 1
        torch._dynamo.graph_break()
        return x + 1

    compiled = by_genie(steps)
    for value in (0.0, 1.0, 3.0, 0.0):
        x = torch.full((3,), value)
        assert torch.equal(compiled(x.to(device)).cpu(), steps(x))


def test_guards(device: torch.device) -> None:
    def scaled(x: torch.Tensor, by: float, double: bool) -> torch.Tensor:
        return x.double() * by if double else x * by

    compiled = by_genie(scaled)
    x = torch.ones(2)
    for by in (1.5, 2.5, 3.5, 2.5):
        for double in (False, True):
            got = compiled(x.to(device), by, double).cpu()
            assert torch.equal(got, scaled(x, by, double))
            assert got.dtype == scaled(x, by, double).dtype


def test_numbers_on_the_cpu_are_not_kept(device: torch.device, ways: Ways) -> None:
    compiled = by_genie(lambda x, y: x * y)
    for value in (2.0, 3.0, 4.0):
        assert float(compiled(torch.ones(1).to(device), torch.tensor(value))) == value
    assert set(ways()) == {"recorded: its inputs are not all on one device"}


def test_values_that_are_read(device: torch.device, ways: Ways) -> None:
    def chosen(x: torch.Tensor) -> torch.Tensor:
        return x[x > 1] * 2

    with torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True):
        compiled = by_genie(chosen)
        for low in (0.0, 1.0, 5.0):
            x = torch.arange(3.0) + low
            assert torch.equal(compiled(x.to(device)).cpu(), chosen(x))
    assert not {"captured", "prepared"} & set(ways())


def test_uploads_within(device: torch.device, ways: Ways) -> None:
    compiled = by_genie(lambda x: x + torch.arange(3).to(x.device))
    for step in range(3):
        x = torch.full((3,), step)
        assert torch.equal(compiled(x.to(device)).cpu(), x + torch.arange(3))
    assert "prepared" not in ways()


def test_an_op_that_fails(device: torch.device) -> None:
    compiled = by_genie(lambda x, i: x.gather(0, i) * 2)
    x = torch.arange(3.0).to(device)
    good, bad = (torch.tensor(i).to(device) for i in ([0, 2], [0, 7]))
    for _ in range(2):
        assert compiled(x, good).cpu().tolist() == [0, 4]
    with pytest.raises(RemoteError, match=r"aten::gather failed.*test_compiled\.py"):
        compiled(x, bad).cpu()
    assert compiled(x, good).cpu().tolist() == [0, 4]


def test_from_several_threads(device: torch.device) -> None:
    compiled = by_genie(lambda x, y: (x @ y).tanh() + x)
    found: dict[int, bool] = {}

    def work(number: int) -> None:
        x = torch.full((4, 4), float(number))
        there, ok = x.to(device), True
        for _ in range(25):
            ok &= torch.equal(compiled(there, there + 0).cpu(), (x @ x).tanh() + x)
        found[number] = ok

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(4), True)


def test_higher_order(device: torch.device) -> None:
    def either(x: torch.Tensor) -> torch.Tensor:
        return torch.cond(x.sum() > 0, lambda x: x + 1, lambda x: x - 1, (x,))

    compiled = by_genie(either)
    for value in (1.0, -1.0, 1.0):
        x = torch.full((3,), value)
        assert torch.equal(compiled(x.to(device)).cpu(), either(x))


def test_checkpointing(device: torch.device) -> None:
    from torch.utils.checkpoint import checkpoint

    def run(x: torch.Tensor) -> torch.Tensor:
        return checkpoint(lambda x: x.sin().exp(), x, use_reentrant=False).sum()

    want, got = torch.ones(3, requires_grad=True), torch.ones(3, device=device, requires_grad=True)
    run(want).backward()
    for _ in range(2):
        got.grad = None
        by_genie(run)(got).backward()
        torch.testing.assert_close(got.grad.cpu(), want.grad)


def test_second_device(device: torch.device, remote_device: torch.device, ways: Ways) -> None:
    compiled = by_genie(lambda x: x.exp())
    for where in (device, remote_device, device, remote_device):
        got = compiled(torch.ones(2).to(where))
        assert got.device == torch.ones(1).to(where).device
        assert torch.equal(got.cpu(), torch.ones(2).exp())
    assert ways() == {"captured": 2, "prepared": 2}


def test_flushes_are_counted(device: torch.device) -> None:
    compiled = by_genie(lambda x: x + 1)
    x = torch.ones(2).to(device)
    compiled(x)
    genie_core.reset_stats(device)
    compiled(x * 2)
    assert genie_core.stats(device).flushes == {"compiled": 2}


def test_explained(device: torch.device) -> None:
    compiled = by_genie(lambda x: x.exp() + 1)
    with genie_core.explain() as explanation:
        compiled(torch.ones(2).to(device)).cpu()
    names = [n.meta["op"] for p in explanation.programs for n in p.graph.nodes if "op" in n.meta]
    assert "aten::exp" in names
