"""Loops of recurrent cells as one op, against the CPU's own loops."""

from __future__ import annotations

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

CELLS = {
    "lstm": nn.LSTMCell,
    "gru": nn.GRUCell,
    "tanh": nn.RNNCell,
    "relu": partial(nn.RNNCell, nonlinearity="relu"),
}


@pytest.fixture
def loop(genie, outcomes, only):
    """Run a loop on the CPU and there; returns what became of its rewrites."""
    only("cell_loop")

    def compare(steps, step, *makers):
        torch.manual_seed(0)
        results = []
        here = [make(6, 6) for make in makers]
        for device in (genie, "cpu"):
            cells = [deepcopy(cell).to(device) for cell in here]
            results.append([_loop(cells, step, steps, device) for _ in range(3)])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        return {one.state for one in outcomes()}

    return compare


def _loop(cells, step, steps, device):
    generator = torch.Generator().manual_seed(steps)
    xs = torch.randn(steps, 2, 6, generator=generator).to(device)
    state = torch.zeros(2, 6, device=device)
    if isinstance(cells[0], nn.LSTMCell):
        state = (state, state)
    every = []
    with torch.no_grad():
        for index, x in enumerate(xs):
            state = step(cells, index, x, state)
            every.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(every[::2] + every[-1:]).cpu()


def once(cells, _, x, state):
    return cells[0](x, state)


@pytest.mark.parametrize("name", CELLS)
def test_a_loop_is_one_op(loop, name):
    assert loop(9, once, CELLS[name]) == {"accepted"}


@pytest.mark.parametrize("name", CELLS)
def test_a_long_loop_is_cut_into_several_programs(loop, name):
    """The last cell before a cut may be half done."""
    assert loop(101, once, CELLS[name]) == {"accepted"}


@pytest.mark.parametrize("name", CELLS)
def test_cells_of_other_weights_are_no_loop(loop, name):
    def in_turn(cells, index, x, state):
        return cells[index % 2](x, state)

    assert loop(7, in_turn, CELLS[name], CELLS[name]) == set()


@pytest.mark.parametrize("name", ["gru", "tanh"])
def test_a_state_that_is_read_off_otherwise_is_no_loop(loop, name):
    def scaled(cells, _, x, state):
        return cells[0](x, state * 0.5)

    assert loop(5, scaled, CELLS[name]) == set()


def test_a_state_that_comes_in_as_the_input_is_no_loop_of_gru(loop):
    """Its gates are not those of the other operand."""

    def swapped(cells, _, x, state):
        return cells[0](state, x)

    assert loop(6, swapped, CELLS["gru"]) == set()


def test_a_cell_of_few_digits_is_left_alone(loop):
    def coarse(*sizes):
        return nn.GRUCell(*sizes).to(torch.bfloat16)

    def step(cells, _, x, state):
        return cells[0](x.to(torch.bfloat16), state.to(torch.bfloat16))

    assert loop(8, step, coarse) == set()
