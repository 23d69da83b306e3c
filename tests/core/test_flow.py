"""From recorded ops to messages: programs, lifted literals, flushes, frees, round trips, bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn

from genie_core import protocol


def read(tensor: torch.Tensor) -> Any:
    return tensor.tolist()


# Programs ----------------------------------------------------------------------------------------


def test_a_loop_hits_one_program(flow: Any) -> None:
    w = torch.eye(3).to(flow.device)
    for step in range(10):
        x = torch.full((3,), float(step)).to(flow.device)
        assert (w @ x).relu().sum().item() == 3.0 * step
    stats = flow.stats()
    assert stats.programs_built <= 2
    assert stats.program_hits == 10 - stats.programs_built
    assert stats.round_trips == 10


def test_a_program_is_sent_once(flow: Any) -> None:
    x = torch.ones(4).to(flow.device)
    for _ in range(5):
        x = (x * 3).sin().cos()
        x.tolist()
    assert len(flow.defined) == len(set(flow.defined)) == flow.stats().programs_built
    assert all(len(name) == 16 for name in flow.defined)


def test_a_changing_number_is_lifted(flow: Any) -> None:
    x = torch.arange(4.0).to(flow.device)

    def step(rate: float) -> None:
        expected = torch.arange(4.0).mul(rate).add(rate, alpha=2.0).clamp(max=rate * 7)
        assert torch.equal((x * rate).add(rate, alpha=2.0).clamp(max=rate * 7).cpu(), expected)

    for i in range(3):
        step(0.5 + i)
    grown = flow.during(lambda: [step(0.01 * i) for i in range(20)])
    assert grown["programs_built"] == 0
    assert grown["signature_misses"] == 0
    assert grown["program_hits"] == 20


def test_changing_scalars_of_each_kind_are_lifted_with_the_right_value(flow: Any) -> None:
    x = torch.arange(6).to(flow.device)

    def step(i: int) -> Any:
        y = x * i + torch.tensor(i * 2)
        y = y.float() * torch.tensor(i / 3, dtype=torch.float64)
        return (y.add(1, alpha=i) ** 2, torch.full((2,), i, device=x.device), y == i)

    def truth(i: int) -> Any:
        y = torch.arange(6) * i + torch.tensor(i * 2)
        y = y.float() * torch.tensor(i / 3, dtype=torch.float64)
        return (y.add(1, alpha=i) ** 2, torch.full((2,), i), y == i)

    for i in range(1, 12):
        built = flow.stats().programs_built
        for found, expected in zip(step(i), truth(i), strict=True):
            assert torch.equal(found.cpu(), expected)
        assert i <= 3 or flow.stats().programs_built == built


def test_a_growing_cache_is_lifted(flow: Any) -> None:
    def grow(where: torch.device, check: Callable[[int, torch.Tensor], None]) -> None:
        cache = torch.arange(4.0).view(1, 1, 4).to(where)
        for step in range(12):
            cache = torch.cat([cache, cache[:, -1:] + 1], dim=1)
            scores = (cache @ cache.transpose(1, 2))[:, -1:].softmax(-1)
            check(step, (scores @ cache).squeeze(0))

    expected: list[torch.Tensor] = []
    grow(torch.device("cpu"), lambda _, x: expected.append(x))
    built = []

    def check(step: int, x: torch.Tensor) -> None:
        assert torch.equal(x.cpu(), expected[step])
        built.append(flow.stats().programs_built)

    grow(flow.device, check)
    assert built[-1] == built[2]


def test_a_number_that_stays_after_it_was_lifted_and_two_that_part(flow: Any) -> None:
    x = torch.ones(2).to(flow.device)
    pairs = [(1.0, 1.0), (2.0, 2.0), (2.0, 2.0), (3.0, 4.0), (5.0, 5.0), (4.0, 3.0), (0.0, -0.0)]
    for a, b in pairs:
        assert (x * a + x * b).tolist() == [a + b, a + b]
    assert flow.stats().programs_built <= 3
    grown = flow.during(lambda: [(x * a + x * b).tolist() for a, b in pairs])
    assert grown["programs_built"] == 0


def test_another_structure_is_another_program(flow: Any) -> None:
    x = torch.ones(2).to(flow.device)
    for work in (lambda: x + 1, lambda: x - 1, lambda: (x + 1) + x, lambda: x + (x + 1)):
        for _ in range(2):
            assert work().tolist()
    assert flow.stats().programs_built == 4
    y = torch.ones(2, dtype=torch.float64).to(flow.device)
    assert flow.during(lambda: read(y + 1))["programs_built"] == 1
    assert flow.during(lambda: read(x.view(1, 2) + 1))["programs_built"] == 1
    assert flow.during(lambda: read(torch.ones(5).to(flow.device) + 1))["programs_built"] == 1
    assert flow.during(lambda: read(torch.ones(7).to(flow.device) + 1))["programs_built"] == 0


def test_the_same_ops_on_the_same_or_on_two_values_are_two_programs(flow: Any) -> None:
    a, b = torch.ones(2).to(flow.device), torch.full((2,), 2.0).to(flow.device)
    for _ in range(3):
        assert (a * a).tolist() == [1.0, 1.0]
        assert (a * b).tolist() == [2.0, 2.0]
        assert (b * b).tolist() == [4.0, 4.0]


def test_what_lives_on_may_change_between_runs_of_a_program(flow: Any) -> None:
    x = torch.ones(3).to(flow.device)
    kept = []
    for step in range(8):
        y = x + step
        z = y * 2
        if step % 3 == 0:
            kept.append((step, y))
        assert z.sum().item() == 6 * (step + 1)
        del y, z
    for step, y in kept:
        assert y.tolist() == [step + 1.0] * 3
    assert flow.stats().programs_built <= 2


# Flushes and round trips --------------------------------------------------------------------------


def test_flushes_have_reasons(flow: Any) -> None:
    x = torch.ones(3).to(flow.device)
    assert flow.during(lambda: read(x + 1))["flushes"] == {"read": 1}
    kept = []
    assert flow.during(lambda: kept.append(x + 2) or flow.settle())["flushes"] == {"sync": 1}
    assert flow.during(x.nonzero)["flushes"] == {"unknown_shape": 1}
    grown = flow.during(lambda: [x.add_(1) for _ in range(600)])
    assert set(grown["flushes"]) == {"size"}
    assert grown["round_trips"] == 0
    assert x.tolist() == [601.0] * 3


def test_nothing_recorded_means_nothing_sent(flow: Any) -> None:
    x = (torch.ones(300_000).to(flow.device)) * 2
    flow.settle()
    grown = flow.during(lambda: [x[0].item(), x.view(3, -1).t()[1, 2].item()])
    assert grown["flushes"] == {}
    assert grown["round_trips"] == grown["messages"] == 2
    assert flow.during(lambda: [x[0], x.t(), x.view(3, -1)[1:]])["messages"] == 0


def test_a_training_step_is_one_round_trip_and_a_small_message(flow: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 8)).to(flow.device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    x, y = torch.randn(4, 64).to(flow.device), torch.tensor([0, 1, 2, 3]).to(flow.device)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        schedule.step()
        return loss.item()

    losses = [step() for _ in range(3)]
    grown = flow.during(lambda: losses.extend(step() for _ in range(10)))
    assert losses[-1] < losses[0]
    assert grown["programs_built"] == 0
    assert grown["round_trips"] == 10
    assert grown["bytes_up"] <= 10 * 1024
    assert grown["bytes_down"] <= 10 * 1024


def test_a_long_loop_without_reads_settles_on_few_programs(flow: Any) -> None:
    weights = [torch.eye(4).to(flow.device) for _ in range(7)]
    x = torch.ones(4, 4).to(flow.device)

    def rounds(count: int) -> None:
        nonlocal x
        for _ in range(count):
            for w in weights:
                x = ((x @ w).relu() + 1).mul(0.5).t().contiguous()

    rounds(60)
    grown = flow.during(lambda: rounds(200))
    assert grown["flushes"].get("size", 0) >= 5
    assert set(grown["flushes"]) == {"size"}
    assert grown["programs_built"] == 0
    expected = torch.ones(4, 4)
    for _ in range(260 * 7):
        expected = ((expected @ torch.eye(4)).relu() + 1).mul(0.5).t().contiguous()
    assert torch.equal(x.cpu(), expected)


@pytest.fixture
def room_for_three(flow: Any) -> Iterator[Any]:
    from genie_core import _native

    _native.limit_programs(flow.device.index, 3)
    yield flow
    _native.limit_programs(flow.device.index, 1024)


def test_the_program_that_was_not_run_for_longest_is_forgotten(room_for_three: Any) -> None:
    flow = room_for_three
    x = torch.arange(4.0)
    on_device = x.to(flow.device)

    def run(sines: int) -> None:
        y, expected = on_device, x
        for _ in range(sines):
            y, expected = y.sin(), expected.sin()
        assert torch.equal(y.cpu(), expected)

    for sines in range(1, 6):
        run(sines)
    assert flow.during(lambda: [run(sines) for sines in (3, 4, 5)])["programs_built"] == 0
    run(3)
    assert flow.during(lambda: run(1))["programs_built"] == 1  # in place of four
    assert flow.during(lambda: [run(sines) for sines in (1, 3, 5)])["programs_built"] == 0
    assert flow.during(lambda: run(4))["programs_built"] == 1
    live = [program for program in range(1, 64) if _is_defined(flow.store, program)]
    assert len(live) == 3


def _is_defined(store: Any, program: int) -> bool:
    try:
        store.run(bytes([program]))  # names it, and nothing else
    except ValueError as error:
        return "was not defined" not in str(error)
    raise AssertionError("a run without values")


def test_sizes_do_not_decide_where_a_trace_ends(flow: Any) -> None:
    torch.manual_seed(0)
    weights = [torch.randn(64, 64) * 0.1 for _ in range(6)]
    on_device = [w.to(flow.device) for w in weights]

    def step(batch: int) -> None:
        x = torch.randn(batch, 64)
        y = x.to(flow.device)
        for w, v in zip(weights, on_device, strict=True):
            for _ in range(3):
                x, y = (x @ w).tanh() + 1, (y @ v).tanh() + 1
        assert torch.equal(y.cpu(), x)

    for batch in (3, 2000, 5):  # of which one is work enough to be begun at once
        step(batch)
    grown = flow.during(lambda: [step(batch) for batch in (2, 700, 4, 1500, 33)])
    assert grown["programs_built"] == 0


# Values and frees ---------------------------------------------------------------------------------


def test_frees_ride_along(flow: Any) -> None:
    x = torch.ones(8).to(flow.device)
    x.tolist()
    flow.settle()
    live = flow.store.live_values

    def work() -> None:
        for _ in range(50):
            y = [x + i for i in range(5)]
            assert sum(item.sum().item() for item in y) == 8 * 15

    work()
    grown = flow.during(work)
    assert grown["messages"] == grown["round_trips"] == 250
    flow.settle()
    assert flow.store.live_values == live


def test_views_leave_nothing_behind(flow: Any) -> None:
    x = torch.arange(64.0).view(16, 4).to(flow.device)
    flow.settle()
    live, size = flow.store.live_values, flow.store.live_bytes
    for i in range(5000):
        row = x[i % 16]
        if i % 1000 == 0:
            assert row.tolist() == [(i % 16) * 4.0 + k for k in range(4)]
    del row
    flow.settle()
    assert (flow.store.live_values, flow.store.live_bytes) == (live, size)


def test_dead_values_never_reach_the_store(flow: Any) -> None:
    x = torch.ones(4).to(flow.device)
    flow.settle()
    live = flow.store.live_values
    y = ((x + 1) * 2 - 3).exp().log()
    y.tolist()
    flow.settle()
    assert flow.store.live_values == live + 1
    del x, y
    flow.settle()
    assert flow.store.live_values == live - 1


def test_uploads_alone_free_what_was_dropped(flow: Any) -> None:
    flow.settle()
    size = flow.store.live_bytes
    for _ in range(100):
        torch.ones(250_000).to(flow.device)  # 1 MB each, no op and no read in between
    flow.session._ask(protocol.Sync(), protocol.Done)
    assert flow.store.live_bytes - size < 50e6


def test_small_uploads_do_not_pile_up(flow: Any) -> None:
    kept = [torch.zeros(8000).to(flow.device) for _ in range(600)]  # 32 KB each
    assert sum(len(part) for part in flow.session._parts) < 4 << 20
    assert len(kept) == 600


# Bytes --------------------------------------------------------------------------------------------


def test_reading_a_part_costs_that_part(flow: Any) -> None:
    large = torch.arange(1_000_000.0).to(flow.device) + 1
    flow.settle()
    for part, expected in (
        (large[123_456], 123_457.0),
        (large.view(1000, 1000)[5, 7:9], [5008.0, 5009.0]),
        (large.view(1000, 1000).t()[3, :2], [4.0, 1004.0]),
        (large[::500_000], [1.0, 500_001.0]),
    ):
        found = []
        grown = flow.during(lambda part=part, found=found: found.append(read(part)))
        assert found == [expected]
        assert grown["bytes_down"] < 200
        assert grown["bytes_up"] < 1000
    assert len(repr(large)) < 200
    assert flow.during(lambda: repr(large))["bytes_down"] < 10_000


def test_uploading_a_part_costs_that_part(flow: Any) -> None:
    source = torch.arange(1_000_000.0)
    target = torch.zeros(1_000_000).to(flow.device)
    flow.settle()
    kept = []
    for work in (
        lambda: kept.append(source[5:9].to(flow.device)),
        lambda: kept.append(source.view(1000, 1000)[:, 3][:4].to(flow.device)),
        lambda: target[10:14].copy_(source[5:9]),
        lambda: target.copy_(source[7]),
    ):
        assert flow.during(lambda work=work: (work(), flow.settle()))["bytes_up"] < 3000
    assert kept[0].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert kept[1].tolist() == [3.0, 1003.0, 2003.0, 3003.0]
    assert target.unique().tolist() == [7.0]


def test_weights_travel_once(flow: Any) -> None:
    model = nn.Linear(256, 256).to(flow.device)
    x = torch.ones(256).to(flow.device)
    model(x).sum().item()
    assert flow.during(lambda: [model(x).sum().item() for _ in range(5)])["bytes_up"] < 5000
