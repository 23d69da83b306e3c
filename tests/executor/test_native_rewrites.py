"""The value store's side of rewrites: bad ones are refused, growing values take little memory."""

from __future__ import annotations

import pytest
import torch

_native = pytest.importorskip("genie_core._native", reason="the native module is not built")
FLOAT = 6


def tensor(slot, size, symbols=()):
    stride = [1]
    for n in reversed(size[1:]):
        stride.insert(0, stride[0] * n)
    return [slot, FLOAT, 0, [0, *size, *stride], list(symbols)]


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def signed(value):
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def payload(program, base, ids, freed=(), symbols=()):
    out = varint(program) + varint(base)
    out += b"".join(n.to_bytes(8, "little") for n in symbols) + varint(0)
    codes = [0b10 << (i % 4 * 2) for i in range(len(ids))]
    out += bytes(sum(codes[i : i + 4]) for i in range(0, len(codes), 4))
    out += b"".join(signed(n - base) for n in ids) + varint(len(freed))
    for one in freed:
        out += signed(one - base)
        base = one
    return out


def define(store, ops, *, slots=2, bound=(0, 1), kept=(1,), tensors=None):
    tensors = tensors or [tensor(0, [4]), tensor(1, [4])]
    store.define(1, slots, 0, list(bound), list(kept), tensors, ops, False)


NEG = ["aten::neg", [[1, 0]], [[0, 1, 1]]]
ABS = ["aten::abs", [[1, 0]], [[0, 1, 1]]]


@pytest.fixture
def store():
    made = _native.ValueStore("cpu")
    made.put(10, torch.tensor([1.0, -2.0, 3.0, 4.0]).numpy())
    return made


def rewrite(store, ops, **changes):
    tensors = [tensor(0, [4]), tensor(1, [4])]
    fields = {"slots": 2, "tensors": tensors, "ops": ops, "origins": [0] * len(ops)}
    fields |= {"once": [], "guards": [], "tolerance": 0.0, **changes}
    store.define_rewrite(1, *fields.values())


def read(store, value, size=4):
    return torch.frombuffer(
        bytearray(store.read(value, FLOAT, [size], [1], 0, 0)), dtype=torch.float32
    )


def test_what_cannot_take_the_programs_place_is_refused(store):
    with pytest.raises(ValueError, match="unknown program"):
        rewrite(store, [NEG])
    define(store, [NEG])
    bad = [
        {"ops": [], "origins": []},  # it makes nothing of what is kept
        {"ops": [["aten::no_such_op", [], []]]},
        {"ops": [["genie::append", [[9, [[1, 0]]], [3, 0]], [[0, 1, 1]]]]},  # one part
        {"ops": [["genie::append", [[1, 0], [3, 0]], [[0, 1, 1]]]]},
        {"ops": [NEG], "origins": []},
        {"ops": [NEG], "once": [1]},
        {"ops": [NEG], "guards": [(0, 1)]},  # no such symbol
        {"ops": [NEG], "slots": 1},
        {"ops": [["aten::neg", [[1, 7]], [[0, 1, 1]]]]},
        {"ops": [["aten::neg", [[1, 0]], [[0, 0, 1]]]]},  # makes its own input
    ]
    for fields in bad:
        with pytest.raises(ValueError, match="."):
            rewrite(store, **{"ops": [NEG], **fields})
    store.run(payload(1, 20, [10, 20]))
    assert read(store, 20).tolist() == [-1.0, 2.0, -3.0, -4.0]
    assert store.rewrites == []


def test_the_first_run_is_the_programs_and_decides(store):
    define(store, [NEG])
    rewrite(store, [ABS], tolerance=0.1)
    assert store.rewrites[0][1] == "unchecked"
    for base in (20, 30):
        store.run(payload(1, base, [10, base]))
        assert read(store, base).tolist() == [-1.0, 2.0, -3.0, -4.0]
    program, state, reason, error, *_ = store.rewrites[0]
    assert (program, state) == (1, "refused")
    assert "tolerance" in reason
    assert error == 2.0  # of the largest number: 8 of 4


def test_a_rewrite_that_agreed_is_played_from_then_on(store):
    define(store, [NEG])
    rewrite(store, [ABS])
    store.put(11, torch.tensor([-1.0, -2.0, 0.0, -4.0]).numpy())
    store.put(12, torch.tensor([0.0, -2.0, -3.0, -4.0]).numpy())
    store.run(payload(1, 20, [12, 20]))
    assert store.rewrites[0][1] == "refused"  # -0 is another number's bits than 0
    define(store, [NEG])
    rewrite(store, [ABS])
    store.put(13, torch.tensor([-1.0, -2.0, -3.0, -4.0]).numpy())
    store.run(payload(1, 30, [13, 30]))
    assert store.rewrites[0][1] == "accepted"
    store.run(payload(1, 40, [10, 40]))  # where they do not agree, it shows which one was played
    assert read(store, 40).tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_growing_value_takes_new_memory_now_and_then_only(store):
    symbols = [[1, 0]]
    tensors = [tensor(0, [0], symbols), tensor(1, [1]), tensor(2, [0], [[1, 1]])]
    cat = ["aten::cat", [[9, [[1, 0], [1, 1]]], [3, 0]], [[0, 2, 2]]]
    grow = ["genie::append", *cat[1:]]
    store.define(1, 3, 2, [0, 1, 2], [2], tensors, [cat], False)
    store.define_rewrite(1, 3, tensors, [grow], [0], [], [], 0.0)
    store.put(100, torch.zeros(1000).numpy())
    store.put(9, torch.ones(1).numpy())
    sizes = []
    for step in range(40):
        old, new, length = 100 + step, 101 + step, 1000 + step
        store.run(payload(1, new, [old, 9, new], freed=[old], symbols=(length, length + 1)))
        sizes.append(store.live_bytes)
    assert store.rewrites[0][1] == "accepted"
    assert len(set(sizes)) <= 4
    assert read(store, 140, 1040).tolist() == [0.0] * 1000 + [1.0] * 40


def test_memory_that_nobody_wrote_to_is_not_compared(store):
    """As of `empty`: what happens to be there is no difference."""
    size = 1 << 12
    for value in range(500, 600):  # what is freed comes back as it was
        store.put(value, torch.full((size,), value % 256, dtype=torch.uint8).numpy())
    store.free(list(range(500, 600)))
    raw = [1, 0, 0, [0, size, 1], []]
    alloc = ["genie::alloc", [[3, size]], [[0, 1, 1]]]
    neg = ["aten::neg", [[1, 0]], [[0, 2, 2]]]
    tensors = [tensor(0, [4]), raw, tensor(2, [4])]
    store.define(1, 3, 0, [0, 1, 2], [1, 2], tensors, [alloc, neg], False)
    store.define_rewrite(1, 3, tensors, [neg, alloc], [1, 0], [], [], 0.0)
    store.run(payload(1, 20, [10, 20, 21]))
    assert store.rewrites[0][1] == "accepted"


def test_new_memory_is_compared_as_what_was_written_to_it(store):
    """Within the tolerance of its numbers; its bytes may all be others."""
    bare = [1, 0, 0, [0, 1, 1], []]
    alloc = ["genie::alloc", [[3, 16]], [[0, 1, 1]]]

    def fill(number):
        return ["aten::fill_.Scalar", [[1, 2], [5, number]], [[1]]]

    tensors = [tensor(0, [4]), bare, tensor(1, [4])]
    store.define(1, 2, 0, [0, 1], [1], tensors, [alloc, fill(1.0)], False)
    store.define_rewrite(1, 2, tensors, [alloc, fill(1.00001)], [0, 1], [], [], 1e-4)
    store.run(payload(1, 20, [10, 20]))
    assert store.rewrites[0][1] == "accepted"
    assert 0 < store.rewrites[0][3] < 1e-4
