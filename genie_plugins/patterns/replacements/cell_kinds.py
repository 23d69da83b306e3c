"""Single cells of recurrent nets, as PyTorch's own are recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import torch.fx

from genie_plugins.patterns.replacements.recorded import Recorded

if TYPE_CHECKING:
    from genie_core import Match

Node = torch.fx.Node


@attrs.frozen
class Cell:
    """One step of a loop."""

    layer: str
    """The function in `torch` that does a loop of these."""
    products: tuple[Node, Node]
    """Of the input and of the state, in any order."""
    new_h: Node
    c: Any = None
    """The second state that came in, if there is one."""
    new_c: Node | None = None
    hidden: int | None = None
    """Which product is the state's, where the cell by itself tells."""


def cell_of(part: Match) -> Cell | None:
    """What a match of one cell is; None for one of other ops than PyTorch's own cells."""
    names = tuple(node.meta["op"].removeprefix("aten::").partition(".")[0] for node in part.nodes)
    reading = _READINGS.get(names)
    plain = {"beta": 1, "alpha": 1}
    if reading is None or any(node.kwargs.items() - plain.items() for node in part.nodes):
        return None
    return reading(part)


def _lstm(part: Match) -> Cell | None:
    one, other, gates, i, f, g, o, kept, added, new_c, tanh, new_h = part.nodes
    ops = Recorded(part.nodes)
    fits = (
        (gates.args[0], gates.args[1]) == (one, other)
        and _is_split(one, (i.args[0], f.args[0], g.args[0], o.args[0]))
        and kept.args[0] is f.args[0]
        and (added.args[0], added.args[1]) == (i.args[0], g.args[0])
        and (new_c.args[0], new_c.args[1]) == (kept, added)
        and tanh.args[0] is kept
        and new_h.args[0] is o.args[0]
        and ops.maker(new_h.args[1]) is tanh
    )
    return Cell("lstm", (one, other), new_h, kept.args[1], kept) if fits else None


def _gru(part: Match) -> Cell | None:
    one, other, reset_sum, reset, update_sum, update, *rest = part.nodes
    scaled, new_sum, tanh, less, times, plus = rest
    ops = Recorded(part.nodes)
    r, z, n = (op.args[0] for op in (reset_sum, update_sum, scaled))
    product = ops.maker(r)
    if product is None:
        return None
    x = one if product is other else other
    fits = (
        product in (one, other)
        and _is_split(product, (r, z, n))
        and _is_split(x, (reset_sum.args[1], update_sum.args[1], new_sum.args[0]))
        and (reset.args[0], update.args[0]) == (r, z)
        and (scaled.args[1], new_sum.args[1]) == (r, n)
        and tanh.args[0] is new_sum
        and less.args == (product.args[1], new_sum)
        and times.args == (less, z)
        and plus.args == (less, new_sum)
    )
    return Cell("gru", (x, product), less, hidden=1) if fits else None


def _rnn(part: Match) -> Cell | None:
    one, other, added, new_h = part.nodes
    if added.args != (one, other) or new_h.args[0] is not one:
        return None
    name = new_h.meta["op"].removeprefix("aten::")
    return Cell(f"rnn_{name}", (one, other), new_h)


def _is_split(whole: Node, parts: tuple[Any, ...]) -> bool:
    """Whether the parts are those of a matrix, of equal width and in their order."""
    told = whole.meta["geometry"]
    if not all(isinstance(n, int) for n in told.size) or told.size[1] % len(parts):
        return False
    width = told.size[1] // len(parts)
    for index, part in enumerate(parts):
        if not isinstance(part, Node) or part.meta.get("slot") != whole.meta["slot"]:
            return False
        geometry = part.meta["geometry"]
        if (geometry.size, geometry.stride) != ((told.size[0], width), told.stride):
            return False
        if geometry.offset != told.offset + index * width:
            return False
    return True


_SUM = ("addmm", "addmm", "add_")
_STATE = ("sigmoid_", "sigmoid_", "tanh_", "sigmoid_", "mul", "mul", "add_", "tanh", "mul")
_GATES = ("sigmoid_", "add_", "sigmoid_", "mul_", "add", "tanh_", "sub", "mul_", "add_")
_READINGS: dict[tuple[str, ...], Callable[[Match], Cell | None]] = {
    (*_SUM, *_STATE): _lstm,
    (*_SUM, *_GATES): _gru,
    (*_SUM, "tanh"): _rnn,
    (*_SUM, "relu"): _rnn,
}
