"""The module of each op: where it was called, whose gradient it computes, what it updates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from genie_plugins.semantics.meaning import change, evolve
from genie_plugins.semantics.origin import origin_of

if TYPE_CHECKING:
    from genie_core.graph import Mark, Semantics
    from genie_plugins.semantics.flow import Flow
    from genie_plugins.semantics.owners import Owner, Owners

MOST_PARAMETERS = 1024  # names that a node is given; a foreach over more has the first ones


def tell(flow: Flow, owners: Owners) -> None:
    """Write `module`, `parameters`, `annotations`, and the forward's line, of each op."""
    unclaimed: list[int] = []
    updated: dict[int, list[Owner]] = {}  # by op of an optimizer
    for index, node in enumerate(flow.ops):
        mark: Mark = node.meta["mark"]
        if is_backward(mark):
            node.meta["genie"], claimed = _of_backward(flow, index, mark)
            if not claimed:
                unclaimed.append(index)
        elif mark.context.phase == "optimizer":
            updated[index] = _updates(flow, index, owners, updated)
            node.meta["genie"] = of_parameters(node.meta["genie"], updated[index])
        if mark.context.annotations:
            change(node, annotations=mark.context.annotations)
    _claim(flow, unclaimed, owners)


def is_backward(mark: Mark) -> bool:
    """Whether autograd computes a gradient, or prepares to."""
    return mark.in_backward or origin_of(mark).in_backward


def _of_backward(flow: Flow, index: int, mark: Mark) -> tuple[Semantics, bool]:
    """A backward's op is of its forward op's module; one that calls modules itself, of those."""
    own: Semantics = flow.ops[index].meta["genie"]
    if own.module is not None:
        return own, True
    source = mark.source
    if source is None and mark.forward is not None and mark.forward[1] < index:
        source = flow.ops[mark.forward[1]].meta["genie"]
    if source is None or not source.origin:
        return own, False
    return _inherit(own, source), not _is_sum(flow, index)


def _is_sum(flow: Flow, index: int) -> bool:
    """Whether it adds up gradients that different nodes of autograd computed.

    The engine does that by itself, right after the node whose gradient came last.
    """
    if flow.name(index) not in ("add", "add_"):
        return False
    marks = (flow.ops[maker].meta["mark"] for maker in _before(flow, index))
    return len({mark.forward for mark in marks if mark.in_backward}) > 1


def _inherit(own: Semantics, source: Semantics) -> Semantics:
    return evolve(
        own,
        origin=source.origin,
        module=source.module,
        module_type=source.module_type,
        root=source.root,
        modality=source.modality,
        annotations=source.annotations,
    )


def _updates(flow: Flow, index: int, owners: Owners, before: dict[int, list[Owner]]) -> list[Owner]:
    """The parameters that an optimizer's op updates, or whose state it works on."""
    found = _owners_at(flow, [*flow.writes[index], *flow.reads[index]], owners)
    if not found:  # what it computes from came from ops before it
        makers = dict.fromkeys(_before(flow, index))
        found = [owner for maker in makers for owner in before.get(maker, ())]
    return found


def _owners_at(flow: Flow, slots: Iterable[int], owners: Owners) -> list[Owner]:
    values = (flow.values.get(slot) for slot in slots)
    first = (owners[value][0] for value in values if value in owners)
    return [owner for owner in first if owner.module is not None]


def of_parameters(own: Semantics, found: list[Owner]) -> Semantics:
    """`own`, in the innermost module that has all the parameters."""
    if not found:
        return own
    names = tuple(dict.fromkeys(owner.name for owner in found))
    own = evolve(own, parameters=names[:MOST_PARAMETERS], root=found[0].root)
    modules = {owner.module or "" for owner in found}
    if len(modules) == 1:
        return evolve(own, module=found[0].module, module_type=found[0].module_type)
    return evolve(own, module=_common(modules), module_type="")


def _common(paths: Iterable[str]) -> str:
    shared: list[str] = []
    for parts in zip(*(path.split(".") for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _claim(flow: Flow, unclaimed: list[int], owners: Owners) -> None:
    """Find modules for ops that autograd's engine does by itself, between its nodes.

    It adds up gradients: of a parameter, or of a value that several ops used, which then goes to
    the backward of the op that made the value. And it makes the first one, of the loss.
    """
    left = []
    for index in reversed(unclaimed):
        node = flow.ops[index]
        found = _gradients(flow, index, owners)
        if found:
            node.meta["genie"] = of_parameters(node.meta["genie"], found)
        elif not node.meta["mark"].in_backward:
            _take(flow, index, _before(flow, index))
        elif not _take(flow, index, _later(flow, index)):
            left.append(index)
    for index in reversed(left):
        if flow.ops[index].meta["genie"].module is None:
            _take(flow, index, _before(flow, index))


def _gradients(flow: Flow, index: int, owners: Owners) -> list[Owner]:
    found = _owners_at(flow, flow.writes[index], owners)
    return [owner for owner in found if owner.role == "gradient"]


def _later(flow: Flow, index: int) -> Iterable[int]:
    for slot in flow.writes[index]:
        yield from flow.readers(slot, index)


def _before(flow: Flow, index: int) -> Iterable[int]:
    for slot in flow.reads[index]:
        maker = flow.maker(slot, index)
        if maker is not None:
            yield maker


def _take(flow: Flow, index: int, others: Iterable[int]) -> bool:
    """Have an op be of the module of the first of `others` that is no optimizer's."""
    own: Semantics = flow.ops[index].meta["genie"]
    for other in others:
        if flow.ops[other].meta["mark"].context.phase == "":
            flow.ops[index].meta["genie"] = _inherit(own, flow.ops[other].meta["genie"])
            return True
    return False
