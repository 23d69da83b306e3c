"""MLPs with a norm or a depthwise convolution between their maps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_NORMS = {"layer_norm", "batch_norm", "rms_norm", "group_norm", "item"}
_ACTS = {"act", "sin"}
_GATES = _ACTS | {"sigmoid", "tanh"}


def wider(view: View, found: Families) -> Iterator[Found]:
    """A linear map, an activation and a norm or a filter of positions in any order, another map."""
    norms = _written(found, view.begin)
    known = {one.end for name in ("mlp", "gated_mlp") for one in found.get(name, ())}
    for step in view.steps:
        if step.name == "linear" and step not in known:
            path = _hidden(step.operands[0], norms)
            if path is not None:
                mlp = detected("mlp", [*path, step])
                mlp.inputs["x"] = path[-1].values[0]
                yield mlp


def _written(found: Families, begin: int) -> dict[Step, Step]:
    """What norms are of, by their results, of those that are more than one op."""
    ones = (one for name in ("layer_norm", "rms_norm") for one in found.get(name, ()))
    return {
        one.end: one.inputs["x"].step
        for one in ones
        if one.end.index >= begin and "x" in one.inputs
    }


def _hidden(step: Step, norms: dict[Step, Step]) -> list[Step] | None:
    """The steps back to the first map; None for what is not the inside of an MLP."""
    path: list[Step] = []
    activated = False
    normed = step in norms or step.name in _NORMS
    while len(path) < 6:
        if step in norms:
            step = norms[step]
            continue
        path.append(step)
        if step.name == "linear":
            return path if activated and not (normed and _is_transform(path)) else None
        if (step.name not in _ACTS | _NORMS and not _filters(step)) or _is_shared(step):
            return None
        activated = activated or step.name in _ACTS
        step = step.operands[0]
    return None


def _is_transform(path: list[Step]) -> bool:
    """Whether it is as wide as what it is given: normed, what a head does before its map."""
    given, hidden = numbers(path[-1].operands[0].size)[-1:], numbers(path[-1].size)[-1:]
    return given == hidden and not any(map(_filters, path))


def _is_shared(step: Step) -> bool:
    """Whether more than one step reads it: what is hidden in an MLP is nobody else's."""
    return sum(user.name not in ("dropout", "item") for user in step.users) > 1


def _filters(step: Step) -> bool:
    """Whether it is a convolution of each channel by itself."""
    return step.name == "conv" and numbers(step.operands[1].size)[1:2] == (1,)


def gated(view: View, found: Families) -> Iterator[Found]:
    """Two linear maps, one of them activated, their product, a norm of it, another map."""
    norms = _written(found, view.begin)
    for step in view.steps:
        if step.name != "linear":
            continue
        norm = step.operands[0]
        product = norms.get(norm) or (norm.operands[0] if norm.name in _NORMS else None)
        if product is None or product.name != "mul" or len(product.operands) != 2:
            continue
        for gate, other in (product.operands, product.operands[::-1]):
            if gate.name in _GATES and gate.operands[0].name == other.name == "linear":
                yield detected("gated_mlp", [gate.operands[0], gate, other, product, step])
                break
