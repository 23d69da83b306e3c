"""Optimizers' updates as fused kernels, against the CPU's own updates."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.optim import SGD, Adam, AdamW

import genie_core
from genie_core import compat

HAS_ADAM = compat.has_kernel("aten::_fused_adam_.tensor_lr", "CPU")
HAS_SGD = compat.has_kernel("aten::_fused_sgd_.tensor_lr", "CPU")
OPTIMIZERS = {
    "adam": partial(Adam, lr=0.1),
    "adam decayed": partial(Adam, lr=0.1, weight_decay=0.1),
    "adam of maxima": partial(Adam, lr=0.1, amsgrad=True),
    "adam of other betas": partial(Adam, lr=0.01, betas=(0.0, 0.5), eps=1e-3),
    "adamw": partial(AdamW, lr=0.1, weight_decay=0.1),
    "adamw of maxima": partial(AdamW, lr=0.1, amsgrad=True),
    "sgd": partial(SGD, lr=0.1, momentum=0.9),
    "sgd decayed": partial(SGD, lr=0.1, momentum=0.9, dampening=0.5, weight_decay=0.1),
}


def train(device, optimizer, *, steps=9, schedule=None, sizes=((3, 4), (5,)), **more):
    """Parameters and state after some steps with gradients of their own."""
    draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
    parameters = [torch.nn.Parameter(draw(size).to(device)) for size in sizes]
    update = optimizer(parameters, **more)
    for step in range(steps):
        for one in parameters:
            one.grad = draw(one.shape).to(device)
        if schedule is not None:
            update.param_groups[0]["lr"] = schedule(step)
        update.step()
        parameters[0].detach().cpu()  # a program for each step
    return found(parameters, update)


def found(parameters, update):
    every = [value for state in update.state.values() for value in state.values()]
    return [t.detach().cpu() for t in [*parameters, *every] if isinstance(t, torch.Tensor)]


def close(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def is_rewritten(name):
    return HAS_SGD if name.startswith("sgd") else HAS_ADAM


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_updates_are_one_kernel(genie, outcomes, only, name, foreach):
    only("adam", "adamw", "sgd")
    optimizer = partial(OPTIMIZERS[name], foreach=foreach)
    sizes = [(3, 4), (2, 2, 2)] * (1 + list(OPTIMIZERS).index(name))  # programs of its own
    close(train(genie, optimizer, sizes=sizes), train("cpu", optimizer, sizes=sizes))
    assert {one.state for one in outcomes()} == ({"accepted"} if is_rewritten(name) else set())


@pytest.mark.parametrize("name", ["adam decayed", "adamw", "sgd"])
def test_a_schedule_goes_on_with_the_same_program(genie, only, name):
    """Step count and learning rate are numbers of a run; decay by itself follows the latter."""
    only("adam", "adamw", "sgd")

    def schedule(step):
        return 0.1 / (1 + step)

    run = partial(train, optimizer=OPTIMIZERS[name], schedule=schedule, sizes=[(3, 5)])
    run(genie, steps=4)
    programs = genie_core.stats(genie).programs_built
    close(run(genie, steps=30), run("cpu", steps=30))
    assert genie_core.stats(genie).programs_built - programs <= 1


def test_steps_so_late_that_nothing_is_corrected_any_more(genie, outcomes, only):
    only("adam")

    def late(parameters):
        update = Adam(parameters, lr=0.1, weight_decay=0.1, betas=(0.9, 0.99))
        for one in parameters:
            one.grad = torch.zeros_like(one)
        update.step()
        for state in update.state.values():
            state["step"].fill_(1e6)
        return update

    sizes = [(9, 2)] * 5
    close(train(genie, late, sizes=sizes), train("cpu", late, sizes=sizes))
    assert {one.state for one in outcomes()} == ({"accepted"} if HAS_ADAM else set())


def test_a_long_loop_is_cut_into_several_programs(genie, outcomes, only):
    """What a cut leaves half done is not part of a rewrite."""
    only("adamw")
    run = partial(train, optimizer=partial(AdamW, foreach=False), sizes=[(2, 3)] * 80)
    close(run(genie), run("cpu"))
    assert (len(outcomes()) > 1) == HAS_ADAM


def test_groups_have_numbers_of_their_own(genie, outcomes, only):
    only("adam")

    def grouped(parameters):
        first, *others = parameters
        return Adam([{"params": [first], "betas": (0.5, 0.9)}, {"params": others, "lr": 0.01}])

    close(train(genie, grouped), train("cpu", grouped))
    assert {one.state for one in outcomes()} == ({"accepted"} if HAS_ADAM else set())


def test_updates_are_exact_unless_asked_for(genie):
    for optimizer in OPTIMIZERS.values():
        run = partial(train, optimizer=optimizer, sizes=[(7, 3)])
        assert all(map(torch.equal, run(genie), run("cpu")))


# What a kernel must not be given ---------------------------------------------------------------


def half(parameters):
    return [one.to(torch.bfloat16) for one in parameters]


def on_one_storage(parameters):
    whole = torch.cat([one.flatten() for one in parameters])
    return [whole[:6].view(2, 3), whole[6:].view(2, 3)]


def with_gaps(parameters):
    return [torch.stack([one, one], -1)[..., 0] for one in parameters]


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize("lay", [half, on_one_storage, with_gaps])
@pytest.mark.parametrize("optimizer", [AdamW, partial(SGD, momentum=0.9)])
def test_parameters_that_no_kernel_takes_keep_their_ops(
    genie, outcomes, only, optimizer, lay, foreach
):
    only("adam", "adamw", "sgd")

    def run(device):
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
        laid = lay([draw(2, 3).to(device) for _ in range(2)])
        update = optimizer(laid, lr=0.1, foreach=foreach)
        for _ in range(5):
            for one in laid:
                one.grad = draw(2, 3).to(device, one.dtype)
            update.step()
            laid[0].cpu()
        return found(laid, update)

    assert all(map(torch.equal, run(genie), run("cpu")))
    assert outcomes() == []


@pytest.mark.parametrize("optimizer", [AdamW, partial(SGD, momentum=0.9)])
def test_gradients_that_lie_otherwise_keep_their_ops(genie, outcomes, only, optimizer):
    only("adam", "adamw", "sgd")

    def run(device):
        draw = partial(torch.randn, generator=torch.Generator().manual_seed(0))
        weight = draw(3, 4).to(device)
        update = optimizer([weight], lr=0.1)
        for _ in range(5):
            weight.grad = draw(4, 3).to(device).t()
            update.step()
            weight.cpu()
        return found([weight], update)

    assert all(map(torch.equal, run(genie), run("cpu")))
    assert outcomes() == []
