"""What attention is besides its products: whose keys it has, masks, positions, caches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import attrs
import torch.fx

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.step import Step, Value
from genie_plugins.patterns.walk import cone, first, names, numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.view import View

Node = torch.fx.Node

_COMPARES = {"le", "lt", "ge", "gt", "less", "less_equal", "greater", "greater_equal"}
_BESIDE = {"add", "sub", "mul", "cat", "neg", "rsqrt", "mean", "square", "layer_norm", "update"}
_BESIDE |= {"index_copy", "index_put", "_index_put_impl", "scatter", "slice_scatter", "matmul"}
_BESIDE |= {"rms_norm", "index", "index_select", "item", "act", "conv"}
_APPENDS = {"cat", "index_copy", "index_put", "_index_put_impl", "update", "scatter"}
_APPENDS |= {"slice_scatter"}
_SLOPES = {"pow", "exp2", "exp", "reciprocal", "mul"}
_PLACES = {"arange", "cumsum"}
_ANDS = {"bitwise_and", "logical_and", "mul", "bitwise_or", "logical_or"}


def kinds(view: View, found: Families) -> Iterator[Found]:
    """Cross-attention, taken from what was found as attention; facts of both."""
    mine = [one for one in found.get("attention", []) if _is_new(view, one)]
    for one in mine:
        one.literals.update(_facts(one))
        if _is_cross(one):
            found["attention"].remove(one)
            pattern = attrs.evolve(one.pattern, name="cross_attention")
            yield attrs.evolve(one, pattern=pattern, match=None)


def _is_new(view: View, one: Found) -> bool:
    return one.end.index >= view.begin


def every(found: Families) -> list[Found]:
    """Attention of both kinds."""
    return [*found.get("attention", ()), *found.get("cross_attention", ())]


# Facts ---------------------------------------------------------------------------------------


def _facts(one: Found) -> dict[str, Any]:
    query, key = one.inputs["q"], one.inputs["k"]
    projections = [_projection(one.inputs[name].step) for name in "qkv"]
    fused = projections[0] is not None and projections[0] is projections[1]
    facts: dict[str, Any] = {"causal": _is_causal(one), "qkv": "fused" if fused else "split"}
    heads, own = _heads(query), _heads(key)
    if heads and own:
        facts.update(heads=heads, kv_heads=own)
    return facts


def _heads(value: Value) -> int:
    """How many heads there were before keys and values were repeated for more queries."""
    for node in value.trail[::-1]:
        source = node.args[0] if node.args else None
        geometry = source.meta.get("geometry") if isinstance(source, torch.fx.Node) else None
        if geometry is not None and len(geometry.size) == 5:
            return numbers(geometry.size)[1]
    size = numbers(value.geometry.size) if value.geometry is not None else ()
    return size[-3] if len(size) >= 4 else 0


def _projection(step: Step) -> Step | None:
    return first(step, lambda s: s.name == "linear", _BESIDE)


def _is_causal(one: Found) -> bool:
    end = one.end
    if end.name == "sdpa" and end.node is not None and True in end.node.args[3:]:
        return True
    if any(_orders(step) for step in _masking(one)):
        return True
    return any(one.inputs[name].step.name in _APPENDS for name in "kv")


def _orders(step: Step) -> bool:
    """Whether it says which positions come before which."""
    if step.name in ("tril", "triu"):
        return True
    return step.name in _COMPARES and any(names(o) & _PLACES for o in step.operands)


def masks(one: Found) -> list[Step]:
    """What is added to an attention's scores, or chooses among them."""
    return [value.step for step in one.steps for value in step.extra if type(value) is Value]


def _masking(one: Found) -> set[Step]:
    return cone(masks(one), lambda s: s.name in ("embedding", "linear", "matmul"), 200)


def _is_cross(one: Found) -> bool:
    query, key = (_projection(one.inputs[name].step) for name in "qk")
    if query is None:
        return False
    if key is None:
        step = one.inputs["k"].step
        return step.name == "leaf" and one.inputs["v"].step.name == "leaf" and not step.static
    if query.args[0] is key.args[0]:
        return False
    return _origins(query).isdisjoint(_origins(key))


def _origins(projection: Step) -> set[Step]:
    """What a projection's input was computed from, up to the last residual sum."""
    seen: set[Step] = set()
    todo = [projection.operands[0]]
    while todo and len(seen) < 60:
        step = todo.pop()
        if step in seen or step.static:
            continue
        seen.add(step)
        if not _is_sum(step):
            todo += step.operands
    return seen


def _is_sum(step: Step) -> bool:
    return step.name == "add" and sum(not s.static for s in step.operands) > 1


# Masks and positions -------------------------------------------------------------------------


def windows(view: View, found: Families) -> Iterator[Found]:
    """Masks that hide what is far away: a comparison with a position that was moved."""
    seen: set[Step] = set()
    for one in every(found):
        if _is_new(view, one):
            masking = _masking(one)
            steps = {s for s in masking if _is_window(s)}
            if steps and seen.isdisjoint(steps):
                seen |= steps
                ands = {u for s in steps for u in s.users if u.name in _ANDS and u in masking}
                moved = {o for s in steps for o in s.operands if o.name in ("sub", "add")}
                yield detected("sliding_window", steps | ands | moved)


def _is_window(step: Step) -> bool:
    if step.name == "triu":
        near = {*step.operands, *step.users, *(s for u in step.users for s in u.operands)}
        return any(s.name == "tril" for s in near)
    if step.name not in _COMPARES:
        return False
    return any(_is_moved(operand) for operand in step.operands) or any(
        _is_distance(o) and isinstance(a, int | float) and a > 1
        for o in step.operands
        for a in (step.node.args[1:] if step.node is not None else ())
    )


def _is_moved(step: Step) -> bool:
    """Whether it is positions and a number of more than one."""
    return (
        step.name in ("sub", "add")
        and len(step.args) > 1
        and isinstance(step.args[1], int | float)
        and abs(step.args[1]) >= 1
        and (step.name == "sub" or step.args[1] < 0)
    )


def _is_distance(step: Step) -> bool:
    step = step.operands[0] if step.name == "abs" else step
    return step.name == "sub" and len(step.operands) == 2


def alibi(view: View, found: Families) -> Iterator[Found]:
    """Biases of scores that grow with the distance, by another slope for each head."""
    seen: set[Step] = set()
    for one in every(found):
        if _is_new(view, one):
            for step in _masking(one):
                if step.name == "mul" and step not in seen and _is_sloped(step):
                    seen.add(step)
                    slopes = cone(step.operands, lambda s: s.name not in _SLOPES, 12)
                    bias = detected("alibi", {step, *(s for s in slopes if s.index >= view.begin)})
                    bias.nodes += _added(one, step)
                    yield bias


def _added(one: Found, bias: Step) -> tuple[Node, ...]:
    """The op of an attention that adds a bias to its scores."""
    reads = [(step, value) for step in one.steps for value in step.extra if value.step is bias]
    return tuple(n for step, v in reads for n in step.nodes if v.node in n.all_input_nodes)


def _is_sloped(step: Step) -> bool:
    if len(step.operands) != 2:
        return False
    for slopes, positions in (step.operands, step.operands[::-1]):
        above = names(positions)
        if above & _PLACES and not above & _COMPARES and _are_slopes(slopes):
            return True
    return False


def _are_slopes(step: Step) -> bool:
    if step.name == "leaf":
        return sum(size != 1 for size in numbers(step.size)) == 1
    return bool(names(step) & {"pow", "exp2", "exp", "reciprocal"}) and step.size != ()


# Caches --------------------------------------------------------------------------------------


def appends(view: View, found: Families) -> Iterator[Found]:
    """Keys or values that are put behind, or into, those of before."""
    seen: set[Step] = set()
    for one in every(found):
        if _is_new(view, one):
            for name in "kv":
                step = one.inputs[name].step
                if step not in seen and step.name in _APPENDS and _goes_on(step):
                    seen.add(step)
                    yield detected("kv_cache_append", [step])


def _goes_on(step: Step) -> bool:
    """Whether what it begins with was there before, or is empty; a learned prefix is none."""
    if not step.operands or step.operands[0].role == "weight":
        return False
    old = step.operands[0]
    return old.name in ("leaf", "alloc", "zeros", "update", *_APPENDS)
