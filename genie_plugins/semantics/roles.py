"""What each value is: told by its owner, else by the ops that make and read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch.fx

from genie_core.graph import Semantics
from genie_plugins.semantics import earlier
from genie_plugins.semantics.caches import COPIES, Caches
from genie_plugins.semantics.meaning import change, evolve
from genie_plugins.semantics.origin import origin_of, roots
from genie_plugins.semantics.owners import modules_of

if TYPE_CHECKING:
    from genie_plugins.semantics.flow import Flow
    from genie_plugins.semantics.owners import Owner, Owners

Node = torch.fx.Node

_EMBEDDINGS = {"embedding", "embedding_bag", "_embedding_bag", "_embedding_bag_forward_only"}
_LINEAR = {"mm", "addmm", "linear", "matmul", "bmm"}
_CHOICES = {"argmax", "multinomial", "topk", "sort"}
_PASSING = COPIES | {"_softmax", "softmax", "div", "mul", "masked_fill", "where", "index", "cat"}
_PASSING |= {"constant_pad_nd", "slice"}


def tell(flow: Flow, owners: Owners, caches: Caches) -> None:
    """Write `role` of each op's result and of each placeholder."""
    logits = set(_logits(flow, owners))
    for index, node in enumerate(flow.ops):
        role = _of_result(flow, index, owners, caches, logits)
        change(node, role=role)
    for slot, node in flow.placeholders.items():
        node.meta["genie"] = _of_placeholder(flow, slot, node, owners, caches)


def owner_of(flow: Flow, slots: list[int], owners: Owners) -> Owner | None:
    """The owner of the first of `slots` that has one."""
    values = (flow.values.get(slot) for slot in slots)
    return next((owners[value][0] for value in values if value in owners), None)


def _of_result(flow: Flow, index: int, owners: Owners, caches: Caches, logits: set[int]) -> str:
    known: Semantics = flow.ops[index].meta["genie"]
    owner = owner_of(flow, flow.writes[index], owners)
    if owner is not None:
        return owner.role
    if known.phase == "optimizer":
        return ""
    if known.phase == "backward":
        own = origin_of(flow.ops[index].meta["mark"]).module
        return "gradient" if own is None else "activation"
    if caches.slots.intersection(flow.writes[index]):
        return "kv_cache"
    if flow.name(index) in _EMBEDDINGS:
        return "embedding"
    if index in logits:
        return "logits"
    return "activation" if known.module is not None or _is_computed(flow, index) else ""


def _is_computed(flow: Flow, index: int) -> bool:
    """Whether an op outside of any module works on what modules computed."""
    makers = (flow.maker(slot, index) for slot in flow.reads[index])
    roles = {flow.ops[maker].meta["genie"].role for maker in makers if maker is not None}
    values = (flow.values.get(slot) for slot in flow.reads[index] if slot in flow.placeholders)
    roles.update(earlier.recall(value).role for value in values if value is not None)
    return bool(roles & {"activation", "logits", "embedding"})


# Logits --------------------------------------------------------------------------------------


def _logits(flow: Flow, owners: Owners) -> Iterator[int]:
    """Ops that compute scores of classes or tokens, and those that pass them on."""
    heads = _heads()
    for index in range(len(flow.ops)):
        name, known = flow.name(index), flow.ops[index].meta["genie"]
        if known.phase == "backward":
            continue
        if name in _LINEAR and (_is_head(known, heads) or _is_tied(flow, index, owners)):
            yield index
        elif _decides(flow, index, known):
            yield from _scores(flow, index)


def _heads() -> set[tuple[str, str]]:
    """(root, path) of the modules that a model itself calls its output embeddings."""
    found: set[tuple[str, str]] = set()
    for root in roots():
        get = getattr(root, "get_output_embeddings", None)
        head = get() if callable(get) else None
        if head is not None:
            found.update((type(root).__name__, n) for n, m in modules_of(root) if m is head)
    return found


def _is_head(known: Semantics, heads: set[tuple[str, str]]) -> bool:
    return known.module is not None and (known.root, known.module) in heads


def _is_tied(flow: Flow, index: int, owners: Owners) -> bool:
    """Whether it multiplies by the weight of an embedding that another module shares."""
    for slot in flow.reads[index]:
        kinds = [owner.module_type for owner in owners.get(flow.values.get(slot, (-1, 0)), [])]
        if len(kinds) > 1 and any("Embedding" in kind for kind in kinds):
            return True
    return False


def _decides(flow: Flow, index: int, known: Semantics) -> bool:
    """Whether it makes a loss of classes, or chooses among them outside of a model."""
    name = flow.name(index)
    if name in ("_log_softmax", "log_softmax"):
        readers = (flow.name(i) for slot in flow.writes[index] for i in flow.readers(slot, index))
        return any(reader.startswith(("nll_loss", "cross_entropy")) for reader in readers)
    if name.startswith("cross_entropy_loss"):
        return True
    return name in _CHOICES and known.module is None


def _scores(flow: Flow, index: int) -> Iterator[int]:
    """The ops from a linear map to the operand of op `index`, if nothing else is between them."""
    path: list[int] = []
    slot = flow.argument(index, 0)
    for _ in range(16):
        maker = flow.maker(slot, index) if slot is not None else None
        if maker is None:
            return
        path.append(maker)
        if flow.name(maker) in _LINEAR:
            yield from path
            return
        if flow.name(maker) not in _PASSING or not flow.reads[maker]:
            return
        slot, index = flow.reads[maker][0], maker


# Placeholders --------------------------------------------------------------------------------


def _of_placeholder(flow: Flow, slot: int, node: Node, owners: Owners, caches: Caches) -> Semantics:
    reader = next(flow.readers(slot, -1), None)
    first = flow.first_use(slot)
    phase = flow.ops[first].meta["genie"].phase if first is not None else ""
    value = node.meta["value"]
    if value in owners:
        owner = owners[value][0]
        names = (owner.name,) if owner.name else ()
        return Semantics(
            "", owner.module, owner.module_type, owner.root, phase, owner.role, parameters=names
        )
    known = evolve(earlier.recall(value), phase=phase)
    if slot in caches.slots:
        return evolve(known, role="kv_cache")
    if known.role:
        return known
    if node.meta["uploaded"] or _is_index(flow, reader, slot):
        return evolve(known, role="input")
    return known


def _is_index(flow: Flow, reader: int | None, slot: int) -> bool:
    """Whether tokens are looked up by it."""
    if reader is None or flow.name(reader) not in _EMBEDDINGS:
        return False
    return flow.argument(reader, 1) == slot
