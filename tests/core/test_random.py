"""Seeds, generators and random ops: on a CPU executor the CPU's bits, each time the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch.nn import functional

CPU = torch.device("cpu")
Draw = Callable[[torch.device], Any]


def same(work: Draw, device: torch.device) -> None:
    """What `work` gives on the device is what it gives on the CPU, to the bit."""
    assert difference(work(CPU), work(device), None) == ""


@pytest.fixture
def generator(device: torch.device) -> Callable[[torch.device, int], torch.Generator]:
    return lambda where, seed: torch.Generator(device=where).manual_seed(seed)


DRAWS: dict[str, Draw] = {
    "rand": lambda d: torch.rand(5, 3, device=d),
    "rand of many": lambda d: torch.rand(1000, device=d),
    "rand of doubles": lambda d: torch.rand(9, device=d, dtype=torch.float64),
    "randn": lambda d: torch.randn(5, device=d),
    "randn of many": lambda d: torch.randn(7, 11, device=d),
    "randn of bfloat16": lambda d: torch.randn(40, device=d, dtype=torch.bfloat16),
    "randn of complex": lambda d: torch.randn(6, device=d, dtype=torch.complex64),
    "randint": lambda d: torch.randint(-4, 9, (6,), device=d),
    "randperm": lambda d: torch.randperm(9, device=d),
    "randperm of many": lambda d: torch.randperm(3000, device=d),
    "rand_like": lambda d: torch.rand_like(torch.ones(3, 4, device=d)),
    "randn_like": lambda d: torch.randn_like(torch.ones(4, 3, device=d).t()),
    "randint_like": lambda d: torch.randint_like(torch.ones(5, device=d), 10),
    "bernoulli": lambda d: torch.bernoulli(torch.full((20,), 0.3, device=d)),
    "bernoulli_": lambda d: torch.empty(20, device=d).bernoulli_(0.6),
    "multinomial": lambda d: torch.multinomial(torch.arange(1.0, 7, device=d), 3),
    "multinomial with replacement": lambda d: torch.multinomial(
        torch.ones(2, 5, device=d), 9, replacement=True
    ),
    "normal": lambda d: torch.normal(torch.arange(4.0, device=d), torch.ones(4, device=d)),
    "normal_": lambda d: torch.empty(20, device=d).normal_(3, 2),
    "uniform_": lambda d: torch.empty(20, device=d).uniform_(-1, 1),
    "exponential_": lambda d: torch.empty(9, device=d).exponential_(2),
    "geometric_": lambda d: torch.empty(9, device=d).geometric_(0.3),
    "cauchy_": lambda d: torch.empty(9, device=d).cauchy_(),
    "log_normal_": lambda d: torch.empty(9, device=d).log_normal_(),
    "random_": lambda d: torch.empty(9, device=d, dtype=torch.int64).random_(),
    "random_ of a view": lambda d: torch.zeros(3, 4, device=d)[:, 1:3].random_(5),
    "poisson": lambda d: torch.poisson(torch.full((6,), 4.0, device=d)),
    "binomial": lambda d: torch.binomial(
        torch.full((5,), 9.0, device=d), torch.full((5,), 0.4, device=d)
    ),
    "gumbel_softmax": lambda d: functional.gumbel_softmax(torch.ones(2, 4, device=d)),
    "rrelu": lambda d: functional.rrelu(-torch.ones(8, device=d), training=True),
    "alpha_dropout": lambda d: functional.alpha_dropout(torch.ones(30, device=d), 0.3, True),
    "dropout2d": lambda d: functional.dropout2d(torch.ones(3, 5, 2, 2, device=d), 0.4),
    "kaiming_uniform_": lambda d: torch.nn.init.kaiming_uniform_(torch.empty(4, 5, device=d)),
    "trunc_normal_": lambda d: torch.nn.init.trunc_normal_(torch.empty(4, 5, device=d)),
    "a distribution": lambda d: torch.distributions.Normal(
        torch.zeros(3, device=d), torch.ones(3, device=d)
    ).sample((2,)),
}


@pytest.mark.parametrize("name", DRAWS)
def test_drawing_on_the_device_leaves_the_cpus_generator_alone(
    name: str, device: torch.device
) -> None:
    """First of all, since what infers a signature's shapes runs at its first sight only."""
    if device.type == "cpu":
        pytest.skip("a rehearsal has one generator")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    DRAWS[name](device)
    torch.remote_accelerator.synchronize()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", DRAWS)
def test_a_seed_gives_the_cpus_bits_draw_after_draw(name: str, device: torch.device) -> None:
    def work(where: torch.device) -> Any:
        torch.manual_seed(11)
        first, second = DRAWS[name](where), DRAWS[name](where)
        torch.manual_seed(2**40 + 5)
        return first, second, DRAWS[name](where), torch.rand(2, device=where)

    same(work, device)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("train", [True, False])
def test_dropout(p: float, train: bool, device: torch.device) -> None:
    def work(where: torch.device) -> Any:
        torch.manual_seed(3)
        x = torch.arange(1.0, 65.0, device=where).view(8, 8).t().requires_grad_()
        y = functional.dropout(x, p, train)
        (functional.dropout(y, p, train) * y).sum().backward()
        return y.detach(), x.grad, torch.rand(1, device=where)

    same(work, device)


def test_dropout_in_a_function_transform(device: torch.device) -> None:
    def work(where: torch.device) -> Any:
        torch.manual_seed(3)
        x = torch.arange(1.0, 65.0, device=where)
        return torch.func.grad(lambda t: functional.dropout(t, 0.4, True).square().sum())(x)

    same(work, device)


def test_one_program_serves_every_probability(device: torch.device) -> None:
    x = torch.ones(64, device=device)
    for step in range(1, 8):
        torch.manual_seed(step)
        got = functional.dropout(x, step / 10)
        torch.manual_seed(step)
        assert torch.equal(got.cpu(), functional.dropout(torch.ones(64), step / 10))


def test_a_probability_out_of_range_is_eagers_error(device: torch.device) -> None:
    with pytest.raises(RuntimeError, match="between 0 and 1, but got 1.5"):
        torch.dropout(torch.ones(2, device=device), 1.5, True)


def test_a_random_value_is_drawn_once(device: torch.device) -> None:
    x = torch.rand(16, device=device)
    first = x.tolist()
    doubled = x * 2
    assert x.tolist() == first
    assert doubled.tolist() == [2 * item for item in first]
    assert len({torch.rand(1, device=device).item() for _ in range(20)}) == 20


def test_draws_that_nobody_reads_count(device: torch.device) -> None:
    def work(where: torch.device) -> torch.Tensor:
        torch.manual_seed(1)
        torch.rand(3, device=where)
        torch.empty(4, device=where).normal_()
        return torch.rand(3, device=where)

    same(work, device)


def test_the_cpus_generator_is_another_one(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has one generator")
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    ours = [torch.rand(2, device=device) for _ in range(2)]
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(torch.cat(ours).cpu(), expected)


def test_a_generator_of_ones_own(
    device: torch.device, generator: Callable[[torch.device, int], torch.Generator]
) -> None:
    def work(where: torch.device) -> Any:
        torch.manual_seed(0)
        first, second = generator(where, 7), generator(where, 8)
        drawn = [
            torch.randn(4, device=where, generator=first),
            torch.rand(4, device=where, generator=second),
            torch.randint(9, (4,), device=where, generator=first),
            torch.randperm(6, device=where, generator=first),
            torch.multinomial(torch.ones(5, device=where), 2, generator=second),
            torch.bernoulli(torch.full((9,), 0.5, device=where), generator=first),
            torch.empty(5, device=where).normal_(generator=second),
            torch.rand(4, device=where),
        ]
        return drawn, first.initial_seed(), torch.randn(2, device=where, generator=first)

    same(work, device)


def test_a_generator_says_where_it_is_and_takes_a_state(device: torch.device) -> None:
    made = torch.Generator(device=device)
    assert made.device.type == device.type
    made.manual_seed(3)
    torch.rand(5, device=device, generator=made)
    state = made.get_state()
    assert state.device == CPU
    first = torch.rand(5, device=device, generator=made)
    made.set_state(state)
    assert torch.equal(torch.rand(5, device=device, generator=made), first)
    other = torch.Generator(device=device)
    other.set_state(state)
    assert torch.equal(torch.rand(5, device=device, generator=other), first)
    assert made.seed() == made.initial_seed()


def test_many_generators_come_and_go(device: torch.device) -> None:
    drawn = [
        torch.rand(1, device=device, generator=torch.Generator(device=device).manual_seed(i)).item()
        for i in range(100)
    ]
    expected = [
        torch.rand(1, generator=torch.Generator().manual_seed(i)).item() for i in range(100)
    ]
    assert drawn == expected


def test_a_generator_of_another_device_is_refused(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has one device")
    with pytest.raises(RuntimeError, match="'remote_accelerator' device type for generator"):
        torch.rand(2, device=device, generator=torch.Generator())
    with pytest.raises(RuntimeError, match="remote_accelerator"):
        torch.rand(2, generator=torch.Generator(device=device))


class TestModule:
    """`torch.remote_accelerator`'s own functions."""

    @pytest.fixture
    def module(self, device: torch.device) -> Any:
        if device.type == "cpu":
            pytest.skip("a rehearsal has no such module")
        return (
            torch.get_device_module(device)
            if hasattr(torch, "get_device_module")
            else (torch.remote_accelerator)
        )

    def test_state(self, module: Any, device: torch.device) -> None:
        module.manual_seed(9)
        torch.rand(3, device=device)
        state = module.get_rng_state()
        first = torch.rand(3, device=device)
        module.set_rng_state(state)
        assert torch.equal(torch.rand(3, device=device).cpu(), first.cpu())
        module.set_rng_state(state, device)
        assert torch.equal(module.get_rng_state("remote_accelerator:0"), state)
        cpu = torch.Generator().manual_seed(9)
        torch.rand(3, generator=cpu)
        assert torch.equal(state, cpu.get_state())

    def test_manual_seed_all(self, module: Any, remote_device: torch.device) -> None:
        module.manual_seed_all(4)
        expected = torch.rand(3, generator=torch.Generator().manual_seed(4))
        for where in ("remote_accelerator:0", remote_device):
            assert torch.equal(torch.rand(3, device=where).cpu(), expected)

    def test_fork_rng(self, module: Any, device: torch.device) -> None:
        torch.manual_seed(2)
        first = torch.rand(3, device=device)
        torch.manual_seed(2)
        with torch.random.fork_rng(devices=[0], device_type=device.type):
            torch.manual_seed(77)
            torch.rand(3, device=device)
        assert torch.equal(torch.rand(3, device=device).cpu(), first.cpu())

    def test_another_process_draws_the_same(
        self, module: Any, device: torch.device, remote_device: torch.device
    ) -> None:
        torch.manual_seed(6)
        drawn = [torch.randn(50, device=where).cpu() for where in (device, remote_device)]
        dropped = [
            functional.dropout(torch.ones(50, device=where)).cpu()
            for where in (device, remote_device)
        ]
        assert torch.equal(*drawn)
        assert torch.equal(*dropped)
