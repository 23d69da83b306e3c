"""Key-value caches: what attention reads that grew by `cat`, or was written in place, before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import attrs
import torch.fx

if TYPE_CHECKING:
    from genie_plugins.semantics.flow import Flow
    from genie_plugins.semantics.owners import Owners

Node = torch.fx.Node

COPIES = {"clone", "contiguous", "_to_copy", "_copy_from", "copy_", "repeat_interleave", "expand"}
ELEMENTWISE = COPIES | {"add", "sub", "mul", "div", "where", "masked_fill", "baddbmm", "tanh"}
_PRODUCTS = {"bmm", "matmul", "baddbmm"}
_APPENDS = {"index_copy_", "index_put_", "_index_put_impl_", "scatter_", "copy_", "_copy_from"}


@attrs.define
class Caches:
    """The caches of a graph: slots, and what their use says of the phase."""

    slots: set[int] = attrs.Factory(set)
    phases: dict[int, str] = attrs.Factory(dict)
    """By attention op that reads a cache: prefill or decode."""


@attrs.frozen
class _Attention:
    index: int
    query: Node
    reads: tuple[int, ...]
    """Slots of keys and values."""


def find(flow: Flow, owners: Owners) -> Caches:
    """The caches that the graph's attention ops read."""
    found = Caches()
    for attention in _attentions(flow):
        for slot in attention.reads:
            _follow(flow, owners, attention, slot, found)
    return found


def _attentions(flow: Flow) -> Iterator[_Attention]:
    for index, node in enumerate(flow.ops):
        name = flow.name(index)
        if "scaled_dot_product" in name and "backward" not in name:
            slots = (flow.argument(index, 1), flow.argument(index, 2))
            query = cast("Node", node.args[0])
            yield _Attention(index, query, tuple(s for s in slots if s is not None))
        elif name in ("_softmax", "softmax"):
            yield from _manual(flow, index)


def _manual(flow: Flow, softmax: int) -> Iterator[_Attention]:
    """A product, softmax of it, and a product of that, which may be another program's."""
    if not flow.reads[softmax]:
        return
    scores = _back(flow, flow.reads[softmax][0], softmax, ELEMENTWISE)
    product = flow.maker(scores, softmax)
    if product is None or flow.name(product) not in _PRODUCTS:
        return
    operands = [a for a in flow.ops[product].args if isinstance(a, Node) and "slot" in a.meta]
    if len(operands) < 2:
        return
    query, key = operands[-2:]
    yield _Attention(product, query, (key.meta["slot"],))
    mixed = _mixed(flow, softmax)
    values = None if mixed is None else flow.argument(mixed, 1)
    if mixed is not None and values is not None:
        yield _Attention(mixed, query, (values,))


def _mixed(flow: Flow, softmax: int) -> int | None:
    """The product that takes the softmax's result, perhaps after a cast or dropout."""
    at = softmax
    for _ in range(4):
        nexts = [i for slot in flow.writes[at] for i in flow.readers(slot, at)]
        products = [i for i in nexts if flow.name(i) in _PRODUCTS]
        if products:
            return products[0]
        passing = [i for i in nexts if flow.name(i) in COPIES | {"native_dropout", "mul"}]
        if not passing:
            return None
        at = passing[0]
    return None


def _back(flow: Flow, slot: int, before: int, through: set[int] | set[str]) -> int:
    """What `slot` was computed from by a few ops `through`, from their first operands."""
    for _ in range(12):
        maker = flow.maker(slot, before)
        if maker is None or flow.name(maker) not in through or not flow.reads[maker]:
            break
        if slot in flow.reads[maker] and flow.name(maker) != "_copy_from":
            break  # in place
        slot, before = flow.reads[maker][0], maker
    return slot


def _follow(flow: Flow, owners: Owners, attention: _Attention, slot: int, found: Caches) -> None:
    slot = _back(flow, slot, attention.index, COPIES - {"copy_", "_copy_from"})
    maker = flow.maker(slot, attention.index)
    if maker is None:
        return
    if flow.name(maker) == "cat":
        _grown(flow, owners, attention, slot, maker, found)
    elif flow.name(maker) in _APPENDS and _is_lasting(flow, owners, slot):
        found.slots.add(slot)
        found.phases[attention.index] = _phase(attention)


def _grown(
    flow: Flow, owners: Owners, attention: _Attention, slot: int, cat: int, found: Caches
) -> None:
    parts = flow.ops[cat].args[0]
    old = parts[0] if isinstance(parts, list | tuple) and len(parts) > 1 else None
    if not isinstance(old, Node) or "slot" not in old.meta or flow.values.get(slot) is None:
        return
    if 0 in old.meta["geometry"].size:
        found.slots.add(slot)
        found.phases[attention.index] = "prefill"
    elif _is_lasting(flow, owners, old.meta["slot"]):
        found.slots.update((slot, old.meta["slot"]))
        found.phases[attention.index] = _phase(attention)


def _phase(attention: _Attention) -> str:
    return "decode" if _length(attention.query) == 1 else "prefill"


def _is_lasting(flow: Flow, owners: Owners, slot: int) -> bool:
    """Whether a value was there before this graph, is no parameter, and did not come as input."""
    node = flow.placeholders.get(slot)
    if node is None:
        return False
    owned = owners.get(node.meta["value"], [])
    return not any(owner.role == "weight" for owner in owned)


def _length(query: Node) -> int:
    """How many positions a query has; 0 where it was lifted."""
    size = query.meta["geometry"].size
    return size[-2] if len(size) > 1 and isinstance(size[-2], int) else 0
