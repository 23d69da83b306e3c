"""What lies in a storage while ops write to it and to parts of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.fx

from genie_plugins.patterns.step import Step, Value

if TYPE_CHECKING:
    from genie_core.graph import Geometry

Node = torch.fx.Node


class Storage:
    """A storage's content: one step's result, or that with parts written over it since."""

    __slots__ = ("geometry", "nbytes", "parts", "whole")

    def __init__(self, whole: Value, geometry: Geometry | None, nbytes: Any = None) -> None:
        self.whole = whole
        self.geometry = geometry
        self.nbytes = nbytes
        """Of one that nobody wrote yet."""
        self.parts: dict[Geometry, Value] = {}

    def part(self, geometry: Geometry) -> Value | None:
        """What was written to exactly these elements, or what is under no part; else None."""
        hit = self.parts.get(geometry)
        if hit is not None:
            return hit
        if all(_apart(geometry, other) for other in self.parts):
            return self.whole
        return None

    def covered_by(self, geometry: Geometry) -> bool:
        """Whether a write to these elements leaves nothing of what was there."""
        count = _numel(geometry)
        if self.nbytes is not None:
            return count is not None and count * geometry.dtype.itemsize >= self.nbytes
        if self.geometry is None or geometry == self.geometry:
            return True
        whole = _numel(self.geometry)
        return count is not None and whole is not None and count >= whole

    def write(self, geometry: Geometry | None, value: Value) -> None:
        """Put a step's result over these elements."""
        if geometry is None or self.covered_by(geometry):
            self.whole, self.geometry, self.nbytes = value, geometry or self.geometry, None
            self.parts.clear()
        else:
            self.parts[geometry] = value


def _numel(geometry: Geometry) -> int | None:
    count = 1
    for size in geometry.size:
        if not isinstance(size, int):
            return None
        count *= size
    return count


def _apart(one: Geometry, other: Geometry) -> bool:
    """Whether they are different slices of one tensor, cut alike."""
    return one.size == other.size and one.stride == other.stride and one.offset != other.offset


def joined(graph: torch.fx.Graph, storage: Storage) -> Step:
    """A step that stands for a storage's content with its parts."""
    return Step(graph, "update", (storage.whole, *storage.parts.values()))
