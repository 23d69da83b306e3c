"""Which of a call's candidates are an instance, where the zoo has no pick for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..families import ACTIVATION, BATCH_NORM, CONVOLUTION, PRODUCT, SCORES

if TYPE_CHECKING:
    from ..calls import Call
    from ..truth import Ran

COPIES = ("copy", "_to_copy", "_copy_from", "clone")


def pairs(_: Ran, __: Call, ops: list[int]) -> list[list[int]]:
    """An instance for each two candidates."""
    return [list(pair) for pair in zip(ops[::2], ops[1::2], strict=True)]


def rotations(ran: Ran, call: Call, ops: list[int]) -> list[list[int]]:
    """What data connects before attention's first product; cosines and casts connect nothing."""
    own, wanted = ran.own[call], set(ops)
    end = min(ran.named(own, SCORES), default=own[-1] + 1)
    copies = set(ran.named(own, COPIES))
    groups = ran.groups([i for i in own if ops[0] <= i < end and i not in copies])
    found = [[index for index in group if index in wanted] for group in groups]
    return [group for group in found if len(group) > 1]


def added_path(ran: Ran, _: Call, ops: list[int]) -> list[list[int]]:
    """All products but the first, and the last sum."""
    products = ran.named(ops, PRODUCT)
    return [products[1:] + ran.named(ops, {"add"})[-1:]]


def conv_bn_acts(ran: Ran, _: Call, ops: list[int]) -> list[list[int]]:
    """Convolution, norm and activation that follow each other."""
    kinds = (CONVOLUTION, BATCH_NORM, ACTIVATION)
    rows = zip(ops, ops[1:], ops[2:], strict=False)
    return [
        list(row)
        for row in rows
        if all(ran.names[i] in kind for i, kind in zip(row, kinds, strict=True))
    ]
