"""Recurrent cells by what they compute, whatever their products are: joined, apart, with norms."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import cone

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_NORMS = {"layer_norm", "batch_norm", "group_norm", "rms_norm", "item"}
_SUMS = _NORMS | {"add", "mul", "sub", "linear", "conv", "cat"}
_PRODUCTS = {"linear", "conv"}
_GATES = {"sigmoid", "hardsigmoid"}
_NEW = {"tanh", "act"}


def _cell(
    name: str, steps: Iterable[Step], outputs: tuple[Step, ...], links: dict[str, Step]
) -> Found:
    found = detected(name, steps, links=links)
    found.outputs = outputs
    return found


def _gate_of(product: Step) -> tuple[Step, Step] | None:
    """Gate and gated, of a product with what a sigmoid gave, or with one less that."""
    if product.name != "mul" or len(product.operands) != 2:
        return None
    for gate, other in (product.operands, product.operands[::-1]):
        if _sigmoid(gate) is not None:
            return gate, other
    return None


def _sigmoid(gate: Step) -> Step | None:
    """The sigmoid that a gate is, or is one less."""
    if gate.name in ("sub", "add") and len(gate.operands) == 1:
        gate = gate.operands[0]
    if gate.name in ("mul", "neg") and len(gate.operands) == 1:
        gate = gate.operands[0]
    return gate if gate.name in _GATES else None


def _plain(step: Step) -> Step:
    """What a norm was taken of."""
    while step.name in _NORMS and step.operands:
        step = step.operands[0]
    return step


def _before(steps: Iterable[Step]) -> set[Step]:
    """The sums, norms and products that gates are made of."""
    found: set[Step] = set()
    for step in steps:
        todo = list(step.operands)
        while todo and len(found) < 80:
            one = todo.pop()
            if one.name in _SUMS and one not in found and not one.static:
                found.add(one)
                todo += () if one.name in _PRODUCTS else one.operands
    return found


# LSTM ----------------------------------------------------------------------------------------


def lstms(view: View, found: Families) -> Iterator[Found]:
    """o·tanh(f·c + i·g), of gates and a candidate that linear maps or convolutions make."""
    known = {one.outputs[0] for one in found.get("lstm_cell", ()) if one.outputs}
    for step in view.steps:
        gated = _gate_of(step) if step not in known else None
        if gated is not None and gated[1].name in _NEW:
            out, squashed = gated
            state = _plain(squashed.operands[0])
            parts = _kept_and_new(state)
            if parts is not None:
                yield _lstm(step, out, squashed, state, *parts)


def _kept_and_new(state: Step) -> tuple[tuple[Step, Step], tuple[Step, Step]] | None:
    """Of a sum, the gate and the state that is kept, and the gate and the candidate."""
    if state.name != "add" or len(state.operands) != 2:
        return None
    for one, other in (state.operands, state.operands[::-1]):
        kept, new = _gate_of(one), _gate_of(other)
        if kept is not None and new is not None and new[1].name in _NEW:
            return kept, new
    return None


def _lstm(
    h: Step, out: Step, squashed: Step, c: Step, kept: tuple[Step, Step], new: tuple[Step, Step]
) -> Found:
    gates = [sigmoid for gate in (out, kept[0], new[0]) if (sigmoid := _sigmoid(gate)) is not None]
    own = {h, squashed, c, *c.operands, out, kept[0], new[0], new[1], *gates}
    norm = squashed.operands[0]
    made = _before([*gates, new[1]]) - own
    return _cell("lstm_cell", own | {norm} | made, (h, c), {"c": kept[1]})


# GRU -----------------------------------------------------------------------------------------


def grus(view: View, found: Families) -> Iterator[Found]:
    """A state and a candidate, mixed by a gate, of which the candidate was made by another."""
    known = {one.end for one in found.get("gru_cell", ())}
    for step in view.steps:
        if step.name in ("add", "lerp") and step not in known:
            mixed = _mixed(step)
            if mixed is not None:
                own, gate, new, h = mixed
                made = _before([gate, new])
                if _resets(new, h, made):
                    resets = {s for s in made for s in s.operands if s.name in _GATES}
                    made |= resets | _before(resets)
                    yield _cell("gru_cell", {step, gate, new, *own} | made, (step,), {"h": h})


def _mixed(step: Step) -> tuple[set[Step], Step, Step, Step] | None:
    """Further steps of a mixture, its gate, the candidate, the state."""
    if step.name == "lerp" and len(step.operands) == 3:
        left, right, gate = step.operands
        return _told(set(), gate, left, right) if gate.name in _GATES else None
    if len(step.operands) != 2:
        return None
    left, right = step.operands
    one, other = _gate_of(left), _gate_of(right)
    if one is not None and other is not None and _sigmoid(one[0]) is _sigmoid(other[0]):
        mixing = _sigmoid(one[0])
        assert mixing is not None
        return _told({left, right, one[0], other[0]}, mixing, one[1], other[1])
    for base, moved, gated in ((left, right, other), (right, left, one)):
        if gated is not None and gated[1].name == "sub" and base in gated[1].operands:
            difference = gated[1]
            rest = [operand for operand in difference.operands if operand is not base]
            if len(rest) == 1 and gated[0].name in _GATES:
                return _told({moved, difference}, gated[0], base, rest[0])
    return None


def _told(
    own: set[Step], gate: Step, one: Step, other: Step
) -> tuple[set[Step], Step, Step, Step] | None:
    """Which of two that are mixed is the candidate: what a tanh gave."""
    for new, h in ((one, other), (other, one)):
        if new.name in _NEW and new.operands and new.operands[0].name in _SUMS:
            return own, gate, new, h
    return None


def _resets(new: Step, h: Step, made: set[Step]) -> bool:
    """Whether a gate is among what the candidate is made of."""
    above = cone([new], lambda s: s is h or s.static or (s not in made and s is not new), 60)
    return any(o.name in _GATES for s in above if s.name == "mul" for o in s.operands) or any(
        _gate_of(o) is not None for s in above if s.name in _PRODUCTS | {"cat"} for o in s.operands
    )


# Vanilla -------------------------------------------------------------------------------------


def rnns(view: View, found: Families) -> Iterator[Found]:
    """tanh of a map of input and state; what others' gates are, or what never comes back, is none.

    Removes those that templates found and that are no cells.
    """
    gated = {s for name in ("lstm_cell", "gru_cell") for o in found.get(name, ()) for s in o.steps}
    ones = found.get("rnn_cell", [])
    kept = {one for one in ones if one.end.index < view.begin}
    mine = [one for one in ones if "weight_in" in one.inputs and one.end not in gated]
    by_end = {one.end: one for one in mine if not _is_gated(one.end)}
    for one in by_end.values():
        before = _earlier(one, by_end)
        if before is not None:
            kept |= {before, one}
        elif _begins(one):
            kept.add(one)
    ones[:] = [one for one in ones if one in kept]
    yield from _joined(view, gated)


def _is_gated(end: Step) -> bool:
    return any(_gate_of(user) is not None for user in end.users)


def _earlier(one: Found, by_end: dict[Step, Found]) -> Found | None:
    """The cell with the same weights whose result comes in as the state."""
    weights = _weights_of(one)
    for state, other in _both(one):
        before = by_end.get(_plain(state))
        if before is not None and before is not one and weights == _weights_of(before):
            return None if _depends(other, state) else before
    return None


def _weights_of(one: Found) -> set[Step]:
    return {one.inputs[name].step for name in ("weight_in", "weight_hidden")}


def _both(one: Found) -> Iterator[tuple[Step, Step]]:
    """What comes in, each first: which is the state is not known."""
    h, x = one.inputs["h"].step, one.inputs["x"].step
    yield h, x
    yield x, h


def _depends(other: Step, state: Step) -> bool:
    """Whether a map's input was computed from what may be the state: then it is none."""
    return state in cone([other], lambda s: s.index < state.index, 60, extras=False)


def _begins(one: Found) -> bool:
    """Whether a state as large as the result was there before; zeros are a state too."""
    end = one.end
    return end.name == "tanh" and any(
        state.name in _STATES and state.size == end.size and state is not other
        for state, other in _both(one)
    )


_STATES = {"leaf", "zeros", "alloc", "zeros_like", "zero"}


def _joined(view: View, gated: set[Step]) -> Iterator[Found]:
    """Cells of one map of input and state beside each other, at least two with the same weight."""
    by_weight: dict[Step, dict[Step, list[Step]]] = {}
    for step in view.steps:
        if step.name not in _NEW or step in gated or not step.operands:
            continue
        product = _plain(step.operands[0])
        if product.name == "linear" and product.operands[0].name == "cat":
            cells = by_weight.setdefault(product.operands[1], {})
            cells[step] = [step, step.operands[0], product]
    for cells in by_weight.values():
        links = {end: _state(steps[-1], cells) for end, steps in cells.items()}
        used = set(links.values())
        for end, steps in cells.items():
            state = links[end]
            if state is not None or end in used:
                yield _cell("rnn_cell", steps, (end,), {"h": state} if state else {"end": end})


def _state(product: Step, cells: dict[Step, list[Step]]) -> Step | None:
    """The earlier cell's result that a map reads."""
    return next((one for one in product.operands[0].operands if one in cells), None)
