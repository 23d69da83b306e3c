"""Spellings of the softmax of attention's scores, and of what is done with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_plugins.patterns.step import Step, Value

if TYPE_CHECKING:
    from genie_plugins.patterns.builder import Builder, Values

Node = torch.fx.Node

_SCORING = {"mul", "add", "sub", "where", "masked_fill", "act", "tanh", "maximum", "minimum"}
_SCORING |= {"clamp", "clamp_min", "div", "masked_softmax", "cat"}
_WEIGHING = {"mul", "div", "where", "masked_fill", "add", "update"}
_LARGEST = {"amax", "max", "item", "detach"}


def softmax(
    b: Builder,
    name: str,
    values: Values,
    extra: Values,
    node: Any,
    geo: Any,
    nodes: tuple[Node, ...] = (),
) -> Value:
    """What scales and masks scores of attention belongs to the softmax."""
    found: list[Step] = []
    product = _scores(values[0], found, 8)
    if product is None:
        return Value(b.step("softmax", values[:1], node, geo, (), nodes))
    chain = {n: None for step in found for n in step.recorded}
    masks = tuple(
        value
        for step in found
        for value in step.reads
        if value.step not in found and value.step is not product.step
    )
    every = (*chain, *values[0].trail, *nodes)
    return Value(b.step("softmax", (product,), node, geo, masks, every))


def _scores(value: Any, found: list[Step], depth: int) -> Value | None:
    """The product of activations that a value was scaled and masked from."""
    if type(value) is not Value or not depth:
        return None
    if value.step.name == "matmul":
        return value
    if value.step.name not in _SCORING:
        return None
    for operand in _each(value.step.values):
        product = _scores(operand, found, depth - 1)
        if product is not None:
            found.append(value.step)
            return product
    return None


def _each(values: Values) -> Iterator[Any]:
    for value in values:
        if type(value) is tuple:
            yield from value
        else:
            yield value


# Written out ---------------------------------------------------------------------------------


def written_softmax(b: Builder, values: Values, node: Any, geo: Any) -> Value | None:
    """exp(x) / sum(exp(x)), or exp(x) @ v / sum(exp(x))."""
    left, right = values[:2]
    if type(left) is not Value or type(right) is not Value:
        return None
    total = _total(right)
    if total is None:
        return None
    exp = total.step.values[0]
    nodes = (*total.step.nodes, *total.trail)
    if left.step is exp.step:
        return _softmax_of(b, exp, nodes, node, geo)
    if left.step.name == "matmul" and left.step.args[0] is exp.step:
        weights = _softmax_of(b, exp, nodes, None, exp.step.geometry)
        mixed = (*left.step.nodes, *left.trail)
        return Value(b.step("matmul", (weights, left.step.values[1]), node, geo, (), mixed))
    return None


def _total(value: Value) -> Value | None:
    """The sum of exponentials that a value is, perhaps with a number added against zeros."""
    trail: tuple[Node, ...] = ()
    while value.step.name in ("add", "clamp", "clamp_min") and len(value.step.operands) == 1:
        trail += (*value.step.nodes, *value.trail)
        value = value.step.values[0]
    step = value.step
    if step.name != "sum" or type(step.values[0]) is not Value or step.args[0].name != "exp":
        return None
    return Value(step, (*trail, *value.trail))


def _softmax_of(b: Builder, exp: Value, nodes: tuple[Node, ...], node: Any, geo: Any) -> Value:
    """The softmax of what exponentials are of; a shift by the largest is left out."""
    source, nodes = exp.step.values[0], (*exp.step.nodes, *exp.trail, *nodes)
    shift = source.step if source.step.name == "sub" else None
    if shift is not None and shift.operands[-1].name in _LARGEST:
        largest = shift.operands[-1]
        nodes = (*largest.recorded, *shift.nodes, *source.trail, *nodes)
        source = shift.values[0]
    return softmax(b, "softmax", (source,), (), node, geo, nodes)


# Used ----------------------------------------------------------------------------------------


def weighted(left: Value, right: Value) -> tuple[Value, Value]:
    """A product's operands; where one is a softmax of scores, that first.

    What masks or scales the softmax's result once more is looked through.
    """
    weights = _weights(left, 4)
    if weights is not None:
        return weights, right
    weights = _weights(right, 4)
    return (left, right) if weights is None else (weights, left)


def _weights(value: Any, depth: int) -> Value | None:
    if type(value) is not Value or not depth:
        return None
    step = value.step
    if step.name == "softmax":
        return value if step.operands[0].name == "matmul" else None
    if step.name not in _WEIGHING:
        return None
    for operand in step.values:
        found = _weights(operand, depth - 1)
        if found is not None:
            return Value(found.step, (*found.trail, *step.nodes, *value.trail), value.node)
    return None
