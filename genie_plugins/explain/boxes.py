"""A program's ops in nested boxes: phases, and in each the modules, outermost first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs
import torch.fx

from genie_plugins.explain.explanation import meaning

if TYPE_CHECKING:
    from genie_core.graph import Semantics

Node = torch.fx.Node
OUTSIDE = "outside of any module"


@attrs.define
class Box:
    """A phase, or a module in one: what it has, in the order in which that was recorded first."""

    name: str
    path: str = ""
    """Qualified name of a module, below its root; blank for a phase or a root."""
    type: str = ""
    content: dict[str | int, Box | Node] = attrs.Factory(dict)
    """Boxes by name, ops by index."""

    def box(self, name: str, path: str = "") -> Box:
        """The box of that name in this one, made where there is none."""
        found = self.content.setdefault(name, Box(name, path))
        if not isinstance(found, Box):
            raise TypeError(f"{name} is no name of a box")
        return found

    @property
    def boxes(self) -> list[Box]:
        """Those right in this one."""
        return [item for item in self.content.values() if isinstance(item, Box)]

    @property
    def nodes(self) -> Iterator[Node]:
        """The ops in it and in its boxes."""
        for item in self.content.values():
            if isinstance(item, Box):
                yield from item.nodes
            else:
                yield item


def phases(nodes: Iterable[Node]) -> list[Box]:
    """Boxes for the phases of ops, in the order in which they begin."""
    whole = Box("")
    for index, node in enumerate(nodes):
        known = meaning(node)
        box = _place(whole.box(known.phase or "unknown phase"), known)
        box.content[index] = node
    return whole.boxes


def _place(phase: Box, known: Semantics) -> Box:
    """The box of a node's module in that of its phase."""
    if known.module is None:
        return phase.box(OUTSIDE)
    box, path = phase.box(known.root or "a module"), ""
    for name in known.module.split(".") if known.module else ():
        path = f"{path}.{name}".lstrip(".")
        box = box.box(name, path)
    box.type = box.type or known.module_type
    return box
