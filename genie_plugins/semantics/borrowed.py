"""Origins that were borrowed from a program that begins alike, perhaps for other modules.

A trace is not asked for origins as long as it follows a known program, as the second of two equal
blocks does. Which modules it ran for is told by the parameters that it reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.semantics.meaning import evolve
from genie_plugins.semantics.origin import origin_of

if TYPE_CHECKING:
    from genie_core.graph import Semantics
    from genie_plugins.semantics.flow import Flow
    from genie_plugins.semantics.owners import Owner, Owners

Names = dict[str, str]


def relocate(flow: Flow, owners: Owners) -> None:
    """Write the true module of ops with a borrowed origin, where parameters tell it."""
    found = dict(_pairs(flow, owners))
    names: Names = {}
    for old, owner in reversed(found.values()):
        names.update(_renamed(old.module or "", owner.module or ""))
    for index, node in enumerate(flow.ops):
        if index in found:
            old, owner = found[index]
            names.update(_renamed(old.module or "", owner.module or ""))
        if names and _is_borrowed(flow, index):
            root = next(iter(found.values()))[1].root
            node.meta["genie"] = _moved(node.meta["genie"], names, root)


def _is_borrowed(flow: Flow, index: int) -> bool:
    mark = flow.ops[index].meta["mark"]
    return mark.borrowed and origin_of(mark).module is not None


def _pairs(flow: Flow, owners: Owners) -> Iterator[tuple[int, tuple[Semantics, Owner]]]:
    """Ops that read a parameter of another module than their origin's, with that parameter."""
    for index, node in enumerate(flow.ops):
        if not _is_borrowed(flow, index):
            continue
        known: Semantics = node.meta["genie"]
        for slot in flow.reads[index]:
            own = [o for o in owners.get(flow.values.get(slot, (-1, 0)), ()) if o.role == "weight"]
            if own and all((o.module, o.root) != (known.module, known.root) for o in own):
                yield index, (known, own[0])
                break


def _renamed(old: str, new: str) -> Names:
    """What `old` and `new` say of the modules around them: without what they have in common."""
    names = {old: new}
    before, after = old.split("."), new.split(".")
    while len(before) > 1 and len(after) > 1 and before[-1] == after[-1]:
        before.pop()
        after.pop()
        names[".".join(before)] = ".".join(after)
    return names


def _moved(known: Semantics, names: Names, root: str) -> Semantics:
    path, rest = known.module or "", ""
    while path and path not in names:
        path, _, last = path.rpartition(".")
        rest = f".{last}{rest}"
    if path not in names:
        return known
    return evolve(known, module=f"{names[path]}{rest}".lstrip("."), root=root)
