"""Which of a call's candidates are an instance: see `rule.Pick`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from torch import nn

from .calls import Call, call_of

if TYPE_CHECKING:
    from .truth import Ran

_PRODUCTS = {"mm", "addmm", "bmm", "linear", "matmul", "mv"}
_POOLS = {"mean", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "avg_pool2d", "sum"}


def connected(ran: Ran, call: Call, ops: list[int]) -> list[list[int]]:
    """An instance for each group of candidates that data connects within the call."""
    wanted = set(ops)
    groups = ran.groups(ran.below[call])
    return [[index for index in group if index in wanted] for group in groups]


def each(_: Ran, __: Call, ops: list[int]) -> list[list[int]]:
    """An instance for each candidate."""
    return [[index] for index in ops]


def last(_: Ran, __: Call, ops: list[int]) -> list[list[int]]:
    """The last candidate alone."""
    return [ops[-1:]]


def sums(ran: Ran, _: Call, ops: list[int]) -> list[list[int]]:
    """An instance for each candidate that adds two floating tensors of one shape."""
    return [[index] for index in ops if _adds_alike(ran, index)]


def without_counters(ran: Ran, _: Call, ops: list[int]) -> list[list[int]]:
    """All candidates but the sums that count batches."""
    return [[i for i in ops if ran.names[i] != "add" or _adds_alike(ran, i)]]


def _adds_alike(ran: Ran, index: int) -> bool:
    found = [node.meta["geometry"] for node in ran.sources(index)]
    if len(found) != 2 or not all(g.dtype.is_floating_point for g in found):
        return False
    return bool(found[0].size == found[1].size)


def adaptation(ran: Ran, call: Call, ops: list[int]) -> list[list[int]]:
    """A LoRA layer's two narrow products and the last sum, which adds them to the base's."""
    narrow = [i for i in ops if ran.names[i] in _PRODUCTS and "lora" in _path(ran, i)]
    added = [i for i in ran.named(ran.own[call], {"add"}) if narrow and i > narrow[-1]]
    return [narrow + added[-1:]]


def _path(ran: Ran, index: int) -> str:
    call = call_of(ran.nodes[index])
    return "" if call is None else call.path


def cells(ran: Ran, call: Call, ops: list[int]) -> list[list[int]]:
    """The cells of torch's own recurrent modules: a product with the state begins each.

    Each layer and direction begins with a product for all steps.
    """
    module = call.module
    assert isinstance(module, nn.RNNBase)
    chains = module.num_layers * (2 if module.bidirectional else 1)
    starts = [i for i, index in enumerate(ops) if ran.names[index] in _PRODUCTS]
    if len(starts) <= chains:
        return []  # a kernel that does it all
    steps = len(starts) // chains
    bounds = [*starts, len(ops)]
    spans = [ops[a:b] for a, b in pairwise(bounds)]
    return [span for number, span in enumerate(spans) if number % steps]


def scan_steps(ran: Ran, _: Call, ops: list[int]) -> list[list[int]]:
    """A scan's steps: each updates the state by a product and a sum, and reads it by a product."""
    reads = [i for i, index in enumerate(ops) if ran.names[index] in {*_PRODUCTS, "sum"}]
    if not reads or reads[0] < 2:
        return []
    return [ops[reads[0] - 2 : reads[-1] + 1]]


def pooled_head(ran: Ran, _: Call, ops: list[int]) -> list[list[int]]:
    """The last pooling, and the first product after it."""
    pools = [i for i in ops if ran.names[i] in _POOLS]
    heads = [i for i in ops if ran.names[i] in _PRODUCTS and i > pools[-1]] if pools else []
    return [[pools[-1], heads[0]]] if heads else []


def nothing(_: Ran, __: Call, ___: list[int]) -> list[list[int]]:
    """No instance: the candidates are open."""
    return []
