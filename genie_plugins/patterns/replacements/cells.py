"""A loop of LSTM cells as one op."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
import torch
import torch.fx

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements.recorded import Recorded

Node = torch.fx.Node
T = torch.Tensor


def _loop(
    xs: list[T], h: T, c: T, weight_in: T, weight_hidden: T, biases: list[T], read: tuple[int, ...]
) -> tuple[T, ...]:
    """Weights are the other way round, as `addmm` takes them; `read` says whose `h` is wanted."""
    weights = [weight_in.t(), weight_hidden.t(), *biases]
    state = [h.unsqueeze(0), c.unsqueeze(0)]
    steps = torch.stack(xs)
    hs, _, last = torch.lstm(
        steps,
        state,
        weights,
        has_biases=bool(biases),
        num_layers=1,
        dropout=0.0,
        train=False,
        bidirectional=False,
        batch_first=False,
    )
    return (*(hs[step] for step in read), last[0])


PATTERN = Pattern("cell_loop", (), tuple, replacement=_loop, tolerance=1e-4)

_OPS = ["addmm", "addmm", "add_", "sigmoid_", "sigmoid_", "tanh_", "sigmoid_", "mul", "mul"]
_OPS += ["add_", "tanh", "mul"]


@attrs.frozen
class Cell:
    """One step of the loop: two products, which is whose is not known yet."""

    products: tuple[Node, Node]
    c: Any
    """The state that came in."""
    new_c: Node
    new_h: Node


def read(match: Match) -> Match | None:
    """Cells of the ops that `nn.LSTMCell` is recorded as, one after the other."""
    parts = [_cell(part) for part in match.parts]
    cells = [cell for cell in parts if cell is not None]
    if len(cells) < 2 or len(cells) != len(parts):
        return None
    nodes = {node for part in match.parts for node in part.nodes}
    hidden = _hidden(cells)
    if hidden is None or nodes != set(match.nodes) or not _chained(cells, hidden):
        return None
    return _match(match, cells, hidden)


def _cell(part: Match) -> Cell | None:
    names = [node.meta["op"].removeprefix("aten::").partition(".")[0] for node in part.nodes]
    if names != _OPS:
        return None
    one, other, gates, i, f, g, o, kept, added, new_c, tanh, new_h = part.nodes
    ops = Recorded(part.nodes)
    fits = (
        (gates.args[0], gates.args[1]) == (one, other)
        and _quarters(gates, (i, f, g, o))
        and kept.args[0] is f.args[0]
        and (added.args[0], added.args[1]) == (i.args[0], g.args[0])
        and (new_c.args[0], new_c.args[1]) == (kept, added)
        and tanh.args[0] is kept
        and new_h.args[0] is o.args[0]
        and ops.maker(new_h.args[1]) is tanh
        and all(p.kwargs == {"beta": 1, "alpha": 1} for p in (one, other))
    )
    return Cell((one, other), kept.args[1], kept, new_h) if fits else None


def _quarters(gates: Node, parts: tuple[Node, ...]) -> bool:
    """Whether the parts are the four quarters of the gates, in their order."""
    whole = gates.args[0].meta["geometry"]  # type: ignore[union-attr]
    if not all(isinstance(n, int) for n in whole.size) or whole.size[1] % 4:
        return False
    width = whole.size[1] // 4
    for index, part in enumerate(parts):
        one: Any = part.args[0]
        geometry = one.meta["geometry"]
        if one.meta["slot"] != gates.args[0].meta["slot"]:  # type: ignore[union-attr]
            return False
        if (geometry.size, geometry.stride) != ((whole.size[0], width), whole.stride):
            return False
        if geometry.offset != whole.offset + index * width:
            return False
    return True


def _hidden(cells: list[Cell]) -> int | None:
    """Which of its products takes the state, told by the second cell."""
    found = [i for i, p in enumerate(cells[1].products) if p.args[1] is cells[0].new_h]
    return found[0] if len(found) == 1 else None


def _chained(cells: list[Cell], hidden: int) -> bool:
    """Whether each cell's states are those that the one before gives, and the weights the same."""
    for before, cell in pairwise(cells):
        if cell.products[hidden].args[1] is not before.new_h or cell.c is not before.new_c:
            return False
        for one, other in zip(before.products, cell.products, strict=True):
            if (one.args[0], one.args[2]) != (other.args[0], other.args[2]):
                return False
    return True


def _match(match: Match, cells: list[Cell], hidden: int) -> Match:
    first = cells[0].products
    inputs: dict[str, Any] = {
        "xs": [cell.products[1 - hidden].args[1] for cell in cells],
        "h": first[hidden].args[1],
        "c": cells[0].c,
        "weight_in": first[1 - hidden].args[2],
        "weight_hidden": first[hidden].args[2],
        "biases": [first[1 - hidden].args[0], first[hidden].args[0]],
    }
    inside = set(match.nodes)
    wanted = [i for i, cell in enumerate(cells[:-1]) if _is_read(cell.new_h, inside)]
    wanted.append(len(cells) - 1)
    outputs = (*(cells[i].new_h for i in wanted), cells[-1].new_c)
    return Match(PATTERN, match.nodes, inputs, outputs, {"read": tuple(wanted)})


def _is_read(node: Node, inside: set[Node]) -> bool:
    """Whether others read a result, through a view or as it is."""
    for user in node.users:
        if user not in inside and (
            "op" in user.meta or user.op == "output" or _is_read(user, inside)
        ):
            return True
    return False
