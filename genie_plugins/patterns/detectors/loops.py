"""Cells in loops, whole recurrent layers, state-space scans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from genie_plugins.patterns.found import Detector, Families, Found, detected
from genie_plugins.patterns.walk import cone

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

CELLS = ("lstm_cell", "gru_cell", "rnn_cell")
_LAYERS = {"mkldnn_rnn_layer", "lstm_layer_for_training", "lstm", "gru", "rnn_tanh", "rnn_relu"}
_LAYERS |= {"_cudnn_rnn", "miopen_rnn", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell"}


def layers(name: str) -> Detector:
    """A detector of the whole layers of one kind of cell."""

    def detect(view: View, _: Families) -> Iterator[Found]:
        for step in view.steps:
            if step.name in _LAYERS and _kind(step) == name:
                yield detected(name, [step])

    return detect


def _kind(step: Step) -> str:
    if step.name in ("mkldnn_rnn_layer", "lstm_layer_for_training") or "lstm" in step.name:
        return "lstm_cell"
    return "gru_cell" if "gru" in step.name else "rnn_cell"


def loops(view: View, found: Families) -> Iterator[Found]:
    """Cells whose state is the cell's before."""
    for step in view.steps:
        if step.name in _LAYERS and not step.name.endswith("cell"):
            yield detected("cell_loop", [step])
    for name in CELLS:
        cells = [one for one in found.get(name, ()) if one.inputs or one.links]
        if not cells or cells[-1].end.index < view.begin:
            continue
        for chain in _chains(cells):
            if len(chain) > 1 and chain[-1].end.index >= view.begin:
                yield _grown(found, detected("cell_loop", [], parts=chain, length=len(chain)))


def _chains(cells: list[Found]) -> Iterator[list[Found]]:
    makers = {output: one for one in cells for output in one.outputs}
    nexts: dict[Found, Found] = {}
    for one in cells:
        states = [one.inputs[name].step for name in ("h", "x") if name in one.inputs]
        states += one.links.values()
        before = next((makers[state] for state in states if state in makers), None)
        if before is not None and before is not one and before.end.index < one.end.index:
            nexts[before] = one
    later = set(nexts.values())
    for one in cells:
        if one not in later:
            chain = [one]
            while chain[-1] in nexts:
                chain.append(nexts[chain[-1]])
            yield chain


def _grown(found: Families, loop: Found) -> Found:
    """The loop under the name that its beginning has in earlier programs."""
    for older in list(found.get("cell_loop", ())):
        if older.parts and older.parts[0] is loop.parts[0]:
            loop.names = older.names
            known = set(older.nodes)
            loop.nodes_to_name = tuple(node for node in loop.nodes if node not in known)
            found["cell_loop"].remove(older)
    return loop


# State-space scans ---------------------------------------------------------------------------


@attrs.define(eq=False)
class _Chain:
    """States of which each goes on from the one before, or that share their decay."""

    decay: Step
    older: Found | None
    decays: set[Step] = attrs.Factory(set)
    states: list[Step] = attrs.Factory(list)


def scans(view: View, found: Families) -> Iterator[Found]:
    """h = exp(…)·h + …, again and again."""
    known = {step: one for one in found.get("ssm_scan", ()) for step in one.steps}
    homes: dict[Step, _Chain] = {}
    for step in view.steps:
        parts = _decayed(step)
        if parts is not None:
            decay, before = parts
            older = known.get(before) or known.get(decay)
            chain = homes.get(before) or homes.get(decay) or _Chain(decay, older)
            chain.decays.add(decay)
            chain.states.append(step)
            homes[step] = homes[decay] = chain
    for chain in dict.fromkeys(homes.values()):
        if len(chain.states) > 1 or chain.older is not None or len(chain.decay.size) > 2:
            yield _scanned(found, chain)


def _scanned(found: Families, chain: _Chain) -> Found:
    older = chain.older
    before = set(older.steps) if older is not None else set()
    steps = before | _scan(chain.decays, chain.states)
    scan = detected("ssm_scan", steps, links={"decay": chain.decay})
    if older is not None and older in found["ssm_scan"]:
        scan.names = older.names
        scan.nodes_to_name = tuple(n for n in scan.nodes if n not in set(older.nodes))
        found["ssm_scan"].remove(older)
    return scan


def _decayed(step: Step) -> tuple[Step, Step] | None:
    """The exponential and the state that it is multiplied with, if `step` is the next state."""
    if step.name != "add":
        return None
    for product in step.operands:
        if product.name == "mul" and len(product.operands) == 2:
            for decay, state in (product.operands, product.operands[::-1]):
                if decay.name == "exp" and len(decay.size) > 1 and _is_old(state):
                    return decay, state
    return None


def _is_old(state: Step) -> bool:
    """Whether it may be a state: nothing that a model always has."""
    return not state.static or state.name != "leaf" or state.role != "weight"


def _read_off(state: Step) -> set[Step]:
    """The products of a state that are summed, however that is written."""
    found = {user for user in state.users if user.name in ("matmul", "sum")}
    for user in state.users:
        if user.name == "mul":
            sums = {one for one in user.users if one.name == "sum"}
            found |= {user, *sums} if sums else sums
    return found


def _scan(decays: set[Step], states: list[Step]) -> set[Step]:
    """All that a scan's states are computed by, and what is read off them."""
    steps = {*decays, *states}
    for state in states:
        steps |= {o for o in state.operands if o.name == "mul"}
        steps |= _read_off(state)
    inner = {o for step in steps for o in step.operands if o.name == "mul"}
    more = cone(inner, lambda s: s.name != "mul", 12)
    return steps | inner | more
