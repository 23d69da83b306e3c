"""Origins that were borrowed from a program that goes alike, perhaps elsewhere.

A trace is not asked for origins as long as it follows a known program, as the second of two equal
blocks does. Which modules it ran for is told by the parameters that it reads; its lines by nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from genie_core.origin import place_of
from genie_plugins.semantics.meaning import change, evolve
from genie_plugins.semantics.origin import origin_of

if TYPE_CHECKING:
    from genie_core.graph import Semantics
    from genie_plugins.semantics.flow import Flow
    from genie_plugins.semantics.owners import Owner, Owners

Names = dict[str, str]


# Lines ---------------------------------------------------------------------------------------


def disclaim_lines(flow: Flow) -> None:
    """Mark lines that are borrowed, and say before which true one their ops were recorded."""
    later = _flush()
    for node in reversed(flow.ops):
        place = origin_of(node.meta["mark"]).place
        if node.meta["mark"].borrowed:
            change(node, origin=f"as at {place or 'an unknown line'}, before {later}")
        elif place:
            later = place


def _flush() -> str:
    """The user's line that had the trace flushed which is being annotated."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__") != "genie_core.session":
        frame = frame.f_back  # pluggy's frames are nobody's line
    return place_of(frame)


# Modules -------------------------------------------------------------------------------------


def relocate(flow: Flow, owners: Owners) -> None:
    """Write the true module of ops with a borrowed origin, where parameters tell it."""
    borrowed = [index for index in range(len(flow.ops)) if _is_borrowed(flow, index)]
    read = [(index, owned) for index in borrowed for owned in _owned(flow, index, owners)]
    found = {index: owned[0] for index, owned in reversed(read) if _is_other(flow, index, owned)}
    if found:
        _rename(flow, borrowed, dict(sorted(found.items())))
        same = {_module(flow, index) for index, _ in read if index not in found}
        _generalize(flow, borrowed, same, found)
    elif borrowed and not read:
        _disclaim_modules(flow, borrowed)


def _is_borrowed(flow: Flow, index: int) -> bool:
    mark = flow.ops[index].meta["mark"]
    return mark.borrowed and origin_of(mark).module is not None


def _owned(flow: Flow, index: int, owners: Owners) -> Iterator[list[Owner]]:
    """The modules that have a parameter or buffer that an op reads, for each such."""
    for slot in flow.reads[index]:
        found = owners.get(flow.values.get(slot, (-1, 0)), ())
        if own := [owner for owner in found if owner.role in ("weight", "buffer")]:
            yield own


def _is_other(flow: Flow, index: int, owned: list[Owner]) -> bool:
    """Whether none of the owners is the module of the op's origin."""
    known: Semantics = flow.ops[index].meta["genie"]
    return all((owner.module, owner.root) != (known.module, known.root) for owner in owned)


def _rename(flow: Flow, borrowed: list[int], found: dict[int, Owner]) -> None:
    """Move ops with a borrowed origin to where the latest of `found` says, or else the first."""
    names: Names = {}
    for index, owner in reversed(found.items()):
        names.update(_renamed(_module(flow, index), owner.module or ""))
    root = next(iter(found.values())).root
    for index in borrowed:
        if index in found:
            names.update(_renamed(_module(flow, index), found[index].module or ""))
        node = flow.ops[index]
        node.meta["genie"] = _moved(node.meta["genie"], names, root)


def _generalize(flow: Flow, borrowed: list[int], same: set[str], found: dict[int, Owner]) -> None:
    """Claim no block for ops of the blocks around those that turned out to be others.

    Which one it was no parameter tells: the list that has them all is claimed.
    """
    pairs = {(_module(flow, index), owner.module or "") for index, owner in found.items()}
    lists = {path for old, new in pairs for path in _lists(old, new)}
    for index in borrowed:
        node, module = flow.ops[index], _module(flow, index)
        if node.meta["genie"].module != module:
            continue
        for path in lists:
            block = _block(module, path)
            if block and all(_block(other, path) != block for other in same):
                change(node, module=path, module_type="")


def _lists(old: str, new: str) -> Iterator[str]:
    """The modules around `old` and `new` in which they are in different blocks."""
    for before, after in _renamed(old, new).items():
        path = before.rpartition(".")[0]
        if path == after.rpartition(".")[0]:
            yield path


def _block(module: str, path: str) -> str:
    """The number of the block, in the list at `path`, that has `module`; blank for none."""
    within = f"{path}." if path else ""
    name = module.removeprefix(within).partition(".")[0] if module.startswith(within) else ""
    return name if name.isdigit() else ""


def _module(flow: Flow, index: int) -> str:
    return origin_of(flow.ops[index].meta["mark"]).module or ""


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


def _disclaim_modules(flow: Flow, borrowed: list[int]) -> None:
    """Claim no module, but the whole model where the program goes on in the same."""
    marks = [node.meta["mark"] for node in flow.ops]
    own = {origin_of(mark).root for mark in marks if not mark.borrowed}
    for index in borrowed:
        root = origin_of(marks[index]).root
        if root in own:
            change(flow.ops[index], module="", module_type=root)
        else:
            change(flow.ops[index], module=None, module_type="", root="")
