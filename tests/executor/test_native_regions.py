"""The value store's side of control flow: branches by a value of its own, and no bad program."""

from __future__ import annotations

import pytest
import torch
from executor.test_native_rewrites import ABS, NEG, payload, tensor

_native = pytest.importorskip("genie_core._native", reason="the native module is not built")
FLOAT, BOOL = 6, 11
FLAG = [2, BOOL, 0, [0], []]  # a tensor over slot 2
WHOLE = {slot: [2, slot] for slot in range(3)}
RETURN = ["genie::return_values", [[9, [[1, 1]]]], []]
INPUTS = [tensor(0, [4]), tensor(1, [4])]


def region(name, inputs):
    return [9, [[8, name], [9, inputs], [9, []]]]


def define_region(store, name, op, last=RETURN):
    store.define(7, 2, 0, [0], [], INPUTS, [op, last], False, name)


def cond(yes="yes", no="no", inputs=(WHOLE[0],)):
    args = [WHOLE[2], region(yes, list(inputs)), region(no, list(inputs)), [9, []]]
    return ["genie::cond", args, [[0, 1, 1]]]


def define(store, op, program=1):
    store.define(program, 3, 0, [0, 2, 1], [1], [*INPUTS, FLAG], [op], False, "")


@pytest.fixture
def store():
    made = _native.ValueStore("cpu")
    made.put(10, torch.tensor([1.0, -2.0, 3.0, 4.0]).numpy())
    define_region(made, "yes", NEG)
    define_region(made, "no", ABS)
    return made


@pytest.mark.parametrize(("flag", "op"), [(True, torch.neg), (False, torch.abs)])
def test_the_value_decides(store, flag, op):
    store.put(11, torch.tensor([flag]).numpy())
    define(store, cond())
    store.run(payload(1, 100, [10, 11, 12]))
    found = torch.frombuffer(bytearray(store.read(12, FLOAT, [4], [1], 0, 0)), dtype=torch.float32)
    assert torch.equal(found, op(torch.tensor([1.0, -2.0, 3.0, 4.0])))


@pytest.mark.parametrize(
    ("op", "why"),
    [
        (cond(yes="maybe"), "not defined in this session"),
        (cond(inputs=()), "malformed"),
        (cond(inputs=([3, 0],)), "malformed"),  # a cond has nothing to give
        (cond(inputs=([2, 9],)), "slot out of range"),
        (["genie::cond", [WHOLE[2]], [[0, 1, 1]]], "malformed"),
        (["genie::repeat", [[8, "scan"], [3, 2], [9, []], [7, True], [9, []]], []], "malformed"),
        (["genie::while_loop", [[9, []], [3, 0], [3, 0], [3, 0], [9, []]], []], "malformed"),
    ],
)
def test_what_cannot_be_run_is_refused(store, op, why):
    with pytest.raises(ValueError, match=why):
        define(store, op)


def test_a_region_ends_with_what_it_gives(store):
    with pytest.raises(ValueError, match="has to be the last op"):
        store.define(7, 2, 0, [0], [], INPUTS, [RETURN, NEG], False, "odd")
    with pytest.raises(ValueError, match="takes tensors"):
        define_region(store, "odd", NEG, ["genie::return_values", [[9, [[3, 1]]]], []])


def test_a_region_is_no_program_of_its_own(store):
    with pytest.raises(ValueError, match="was not defined"):
        store.run(payload(7, 100, [10]))


def nest(store, depth):
    inner, inputs = ("yes", [WHOLE[0]]) if depth == 0 else (f"{depth - 1}", [WHOLE[0], WHOLE[2]])
    args = [WHOLE[2], region(inner, inputs), region(inner, inputs), [9, []]]
    ops = [["genie::cond", args, [[0, 1, 1]]], RETURN]
    store.define(7, 3, 0, [0, 2], [], [*INPUTS, FLAG], ops, False, f"{depth}")


def test_regions_are_not_nested_without_end(store):
    for depth in range(64):
        nest(store, depth)
    with pytest.raises(ValueError, match="nested more than"):
        nest(store, 64)


def test_a_predicate_without_a_value_spoils_the_results(store):
    define(store, cond())
    store.run(payload(1, 100, [10, 11, 12]))
    with pytest.raises(_native.ReplayError):
        store.read(12, FLOAT, [4], [1], 0, 0)
