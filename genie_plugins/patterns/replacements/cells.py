"""A loop of cells as one op."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torch.fx

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements.cell_kinds import Cell, cell_of
from genie_plugins.patterns.replacements.recorded import kept_slots, made

Node = torch.fx.Node
T = torch.Tensor


def _loop(
    xs: list[T],
    h: T,
    weight_in: T,
    weight_hidden: T,
    biases: list[T],
    layer: str,
    read: tuple[int, ...],
    *,
    c: T | None = None,
) -> tuple[T, ...]:
    """Weights are the other way round, as `addmm` takes them; `read` says whose `h` is wanted.

    `layer` is the name of the function in `torch`, `c` the second state of an LSTM.
    """
    weights = [weight_in.t(), weight_hidden.t(), *biases]
    states = [state.unsqueeze(0) for state in (h, c) if state is not None]
    steps = torch.stack(xs)
    hs, *last = getattr(torch, layer)(
        steps,
        states[0] if c is None else states,
        weights,
        has_biases=bool(biases),
        num_layers=1,
        dropout=0.0,
        train=False,
        bidirectional=False,
        batch_first=False,
    )
    return (*(hs[step] for step in read), *(state[0] for state in last[1:]))


PATTERN = Pattern("cell_loop", (), tuple, replacement=_loop, tolerance=1e-4)


def read(match: Match) -> Match | None:
    """Cells of the ops that `nn.LSTMCell` and its kin are recorded as, one after the other."""
    parts = _finished(match.parts)
    cells = [cell for cell in map(cell_of, parts) if cell is not None]
    if len(cells) < 2 or len(cells) != len(parts):
        return None
    hidden = _hidden(cells)
    if hidden is None or not _chained(cells, hidden) or _nodes(match.parts) != set(match.nodes):
        return None
    return _match(tuple(filter(_nodes(parts).__contains__, match.nodes)), cells, hidden)


def _finished(parts: tuple[Match, ...]) -> tuple[Match, ...]:
    """Without the last cell if a long trace was sent in the middle of it: its sums are kept."""
    cell = cell_of(parts[-1]) if parts else None
    if cell is None:
        return parts
    sums = made(parts[-1].nodes) - made(n for n in (cell.new_h, cell.new_c) if n is not None)
    return parts[:-1] if sums & kept_slots(cell.new_h.graph) else parts


def _nodes(parts: tuple[Match, ...]) -> set[Node]:
    return {node for part in parts for node in part.nodes}


def _hidden(cells: list[Cell]) -> int | None:
    """Which of its products takes the state, told by the second cell."""
    second = cells[1]
    found = [i for i, p in enumerate(second.products) if p.args[1] is cells[0].new_h]
    return found[0] if len(found) == 1 and second.hidden in (None, found[0]) else None


def _chained(cells: list[Cell], hidden: int) -> bool:
    """Whether all are of one kind, and each has the states and weights of the one before."""
    for before, cell in pairwise(cells):
        if cell.layer != before.layer or cell.c is not before.new_c:
            return False
        if cell.products[hidden].args[1] is not before.new_h:
            return False
        for one, other in zip(before.products, cell.products, strict=True):
            if (one.args[0], one.args[2]) != (other.args[0], other.args[2]):
                return False
    return True


def _match(nodes: tuple[Node, ...], cells: list[Cell], hidden: int) -> Match:
    first, last = cells[0], cells[-1]
    one, other = first.products[1 - hidden], first.products[hidden]
    inputs: dict[str, Any] = {
        "xs": [cell.products[1 - hidden].args[1] for cell in cells],
        "h": other.args[1],
        "weight_in": one.args[2],
        "weight_hidden": other.args[2],
        "biases": [one.args[0], other.args[0]],
    }
    inside = set(nodes)
    wanted = [i for i, cell in enumerate(cells[:-1]) if _is_read(cell.new_h, inside)]
    wanted.append(len(cells) - 1)
    outputs = [cells[i].new_h for i in wanted]
    if first.c is not None and last.new_c is not None:
        inputs["c"] = first.c
        outputs.append(last.new_c)
    literals = {"layer": first.layer, "read": tuple(wanted)}
    return Match(PATTERN, nodes, inputs, tuple(outputs), literals)


def _is_read(node: Node, inside: set[Node]) -> bool:
    """Whether others read a result, through a view or as it is."""
    for user in node.users:
        if user not in inside and (
            "op" in user.meta or user.op == "output" or _is_read(user, inside)
        ):
            return True
    return False
