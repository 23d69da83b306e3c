"""How large tensors are; sizes that were lifted count as they were in the program's first run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_core.graph import alloc

if TYPE_CHECKING:
    from genie_core.graph import Geometry

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def results(node: torch.fx.Node) -> list[Geometry]:
    """How the tensors lie that a node gives."""
    if "outputs" in node.meta:
        return [output[2] for output in node.meta["outputs"] if output[0] == 0]
    geometry = node.meta.get("geometry")
    return [] if geometry is None else [geometry]


def nbytes(node: torch.fx.Node) -> int:
    """Bytes of the elements of the tensors that a node gives."""
    if node.target is alloc:
        return _number(node.args[0])
    return sum(_nbytes(geometry) for geometry in results(node))


def _nbytes(geometry: Geometry) -> int:
    return math.prod(map(_number, geometry.size)) * geometry.dtype.itemsize


def _number(size: Any) -> int:
    return int(size.meta["example"]) if isinstance(size, torch.fx.Node) else int(size)


def readable(count: float) -> str:
    """Bytes as in ``1.5 MiB``."""
    unit = min(int(math.log(count, 1024)), len(_UNITS) - 1) if count >= 1 else 0
    number = count / 1024**unit
    return f"{number:.0f} B" if unit == 0 else f"{number:.1f} {_UNITS[unit]}"


def milliseconds(seconds: float) -> str:
    """As in ``12.3 ms``."""
    return f"{seconds * 1e3:,.1f} ms"
