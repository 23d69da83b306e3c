"""Spellings that the analysis view gives one form, as its steps are made."""

from __future__ import annotations

from typing import Any

import torch.fx

from genie_plugins.patterns.builder import Builder, Rule, Values, core_of
from genie_plugins.patterns.ops import ACTIVATIONS, SQUASHING
from genie_plugins.patterns.scores import softmax, weighted, written_softmax
from genie_plugins.patterns.step import Step, Value
from genie_plugins.patterns.walk import cone

Node = torch.fx.Node


def _new(b: Builder, name: str, values: Values, node: Node | None, geometry: Any) -> Value:
    return Value(b.step(name, values, node, geometry))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _of(value: Any, name: str) -> Step | None:
    """The step that a value is, if it is of this name."""
    return value.step if type(value) is Value and value.step.name == name else None


def _trails(values: Values) -> tuple[Node, ...]:
    return tuple(node for value in values if type(value) is Value for node in value.trail)


_LAYERS = {"linear", "matmul", "layer_norm", "rms_norm", "sdpa"}


# Products ------------------------------------------------------------------------------------


def _product(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    """A linear map where an operand is a parameter; else the product of two activations."""
    left, right = values[:2]
    if type(left) is not Value or type(right) is not Value:
        return _new(b, name, values, node, geo)
    if _is_weight(name, left) and not right.step.static:
        left, right = right, left
    computed = left.step.name != "leaf" and right.step.name != "leaf"
    if _is_weight(name, right) or (name == "mm" and not computed):
        return Value(b.step("linear", (left, right), node, geo, extra))
    return Value(b.step("matmul", weighted(left, right), node, geo, extra))


def _is_weight(name: str, value: Value) -> bool:
    """Whether an operand is a parameter, or made of parameters: not what layers made of them."""
    step = value.step
    if not step.static or step.name == "leaf" or name in ("mm", "mv"):
        return step.static
    return not any(one.name in _LAYERS for one in cone([step], lambda s: not s.static, 40))


def _addmm(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    bias, left, right = values[:3]
    return _product(b, "mm" if name == "addmm" else "bmm", (left, right), (bias,), node, geo)


def _linear(b: Builder, _: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return Value(b.step("linear", values[:2], node, geo, (*values[2:], *extra)))


def _two(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return Value(b.step(name, values[:2], node, geo, (*values[2:], *extra)))


def _one(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return Value(b.step(name, values[:1], node, geo, (*values[1:], *extra)))


def _three(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return Value(b.step(name, values[:3], node, geo, (*values[3:], *extra)))


# Arithmetic ----------------------------------------------------------------------------------


def _add(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value | None:
    if len(values) != 2:
        return None
    for one, other in (values, values[::-1]):
        linear = _of(one, "linear")
        if linear is not None and type(other) is Value and _is_bias(linear, other):
            nodes = (*linear.nodes, *_trails(values))
            b.drop(linear)
            return Value(b.step("linear", linear.values, node, geo, (other,), nodes))
    return None


def _is_bias(linear: Step, other: Value) -> bool:
    step = other.step
    if linear.extra or linear.users or step.name != "leaf" or not step.static:
        return False
    return len(step.size) == 1


def _mul(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value | None:
    left, right = values[:2]
    if _of(right, "keep") is not None:
        return _dropout(b, left, right, node, geo)
    if _of(left, "keep") is not None:
        return _dropout(b, right, left, node, geo)
    if _number(right) or _number(left) or _of(left, "bernoulli") or _of(right, "bernoulli"):
        return _scaled_back(b, left, right, node, geo)
    if type(left) is not Value or type(right) is not Value:
        return None
    if left.step is right.step and left.node is right.node:
        return _new(b, "square", (left,), node, geo)
    return _activation(b, values, node, geo)


def _activation(b: Builder, values: Values, node: Any, geo: Any) -> Value | None:
    """x·sigmoid(x), x·(1 + tanh(…x…)) and the like: an activation written out."""
    left, right = values
    if left.step.static or right.step.static:
        return None
    core, key = core_of(left)
    if core.name == "leaf" and core.role == "template":
        pass
    if (core, key) != core_of(right):
        return None
    nodes: dict[Node, None] = {}
    if not _between(core, left.step, nodes) | _between(core, right.step, nodes):
        return None
    step = b.step("act", (_reading(core, left, right),), node, geo, (), (*nodes, *_trails(values)))
    step.core, step.key = core, key
    return Value(step)


def _reading(core: Step, *values: Value) -> Value:
    """What reads `core` on the way to the values."""
    todo = list(values)
    while todo:
        value = todo.pop()
        if value.step is core:
            return value
        todo += [v for v in value.step.values if type(v) is Value and not v.step.static]
    return Value(core)


def _between(core: Step, step: Step, nodes: dict[Node, None]) -> bool:
    """Collect the recorded ops from `core` to `step`; whether there is a squashing one."""
    if step is core:
        return False
    squashes = step.name in SQUASHING or step.name == "act"
    nodes.update(dict.fromkeys(step.recorded))
    for operand in step.operands:
        if not operand.static:
            squashes |= _between(core, operand, nodes)
    return squashes


def _act(b: Builder, _: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return Value(b.step("act", values[:1], node, geo, (*values[1:], *extra)))


def _clamp(b: Builder, name: str, values: Values, _: Values, node: Any, geo: Any) -> Value | None:
    low = values[1] if len(values) > 1 else None
    if low == 0 and not isinstance(low, bool):
        return _new(b, "act", values[:1], node, geo)
    return None


def _square(b: Builder, _: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    (value,) = values[:1]
    if _of(value, "act") is not None:  # squared ReLU
        return Value(b.step("act", value.step.values, node, geo, (), value.step.nodes))
    return _new(b, "square", (value,), node, geo)


def _pow(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value | None:
    base, exponent = values[:2]
    if type(base) is not Value or not _number(exponent):
        return None
    if exponent == 2:
        return _square(b, "square", (base,), extra, node, geo)
    if exponent in (0.5, -0.5):
        return _new(b, "sqrt" if exponent > 0 else "rsqrt", (base,), node, geo)
    return None


def _div(b: Builder, name: str, values: Values, extra: Values, node: Any, geo: Any) -> Value | None:
    left, right = values[:2]
    keep = _of(left, "bernoulli")
    if keep is not None:
        return Value(b.step("keep", (), node, geo, (), (*keep.nodes, *_trails(values))))
    if _number(right) and right and type(left) is Value:
        dropped = _scaled_back(b, left, right, node, geo)
        return dropped or _new(b, "mul", (left, 1.0 / right), node, geo)
    root = _of(right, "sqrt")
    if root is not None:
        inverse = b.step("rsqrt", root.values, None, root.geometry, (), root.nodes)
        value = Value(inverse, right.trail, right.node)
        if _number(left):
            return Value(inverse, (*root.nodes, node) if node is not None else ())
        return _new(b, "mul", (left, value), node, geo)
    return written_softmax(b, values, node, geo)


def _reciprocal(b: Builder, _: str, v: Values, extra: Values, node: Any, geo: Any) -> Value | None:
    root = _of(v[0], "sqrt")
    if root is None:
        return None
    return Value(b.step("rsqrt", root.values, node, geo, (), (*root.nodes, *v[0].trail)))


def _rsub(b: Builder, _: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return _new(b, "sub", (values[1], values[0], *values[2:]), node, geo)


def _addcmul(b: Builder, _: str, v: Values, extra: Values, node: Any, geo: Any) -> Value:
    product = b.step("mul", v[1:3], None, geo)
    return _new(b, "add", (v[0], Value(product)), node, geo)


# Dropout -------------------------------------------------------------------------------------


def _bernoulli(b: Builder, _: str, values: Values, extra: Values, node: Any, geo: Any) -> Value:
    return Value(b.step("bernoulli", (), node, geo, (), _trails(values[:1])))


def _chance(b: Builder, name: str, v: Values, _: Values, node: Any, geo: Any) -> Value | None:
    """A random number compared with a number: as good as `bernoulli`."""
    drawn = next((one for one in v if type(one) is Value and one.step.name in _DRAWN), None)
    if drawn is None or sum(type(one) is Value for one in v) > 1:
        return None
    return Value(b.step("bernoulli", (), node, geo, (), (*drawn.step.nodes, *drawn.trail)))


def _rounded(b: Builder, _: str, v: Values, __: Values, node: Any, geo: Any) -> Value | None:
    """A random number and a chance, rounded down."""
    total = _of(v[0], "add")
    drawn = [o for o in total.operands if o.name in _DRAWN] if total is not None else []
    if total is None or not drawn or len(total.operands) != 1:
        return None
    nodes = (*drawn[0].nodes, *total.recorded, *_trails(v))
    return Value(b.step("bernoulli", (), node, geo, (), nodes))


_DRAWN = {"uniform", "rand", "rand_like"}


def _scaled_back(b: Builder, left: Any, right: Any, node: Any, geo: Any) -> Value | None:
    """What was multiplied with zeros and ones by chance, and is made as large again, or was."""
    for value, factor in ((left, right), (right, left)):
        product = _of(value, "mul")
        if product is None:
            continue
        for one, other in (product.values, product.values[::-1]):
            chance = factor if _number(other) else other
            if type(one) is Value and _of(chance, "bernoulli") is not None:
                nodes = (*chance.step.nodes, *chance.trail, *product.nodes, *value.trail)
                b.step("dropout", (one,), node, geo, (), nodes)
                return Value(one.step, one.trail, dropped=True)
    return None


def _dropout(b: Builder, value: Any, keep: Value, node: Any, geo: Any) -> Value | None:
    """Readers see through it."""
    if type(value) is not Value:
        return None
    nodes = (*keep.step.nodes, *keep.trail)
    b.step("dropout", (value,), node, geo, (), nodes)
    return Value(value.step, value.trail, dropped=True)


def _native_dropout(
    b: Builder, _: str, values: Values, extra: Values, node: Any, geo: Any
) -> Value:
    value = values[0]
    b.step("dropout", (value,), node, geo)
    return Value(value.step, value.trail, dropped=True)


RULES: dict[str, Rule] = {
    "mm": _product,
    "bmm": _product,
    "matmul": _product,
    "addmm": _addmm,
    "baddbmm": _addmm,
    "linear": _linear,
    "conv": _two,
    "embedding": _two,
    "embedding_bag": _two,
    "sdpa": _three,
    "layer_norm": _one,
    "rms_norm": _one,
    "group_norm": _one,
    "batch_norm": _one,
    "nll_loss": _two,
    "cross_entropy": _two,
    "add": _add,
    "mul": _mul,
    "div": _div,
    "pow": _pow,
    "square": _square,
    "reciprocal": _reciprocal,
    "rsub": _rsub,
    "addcmul": _addcmul,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "bernoulli": _bernoulli,
    "dropout": _native_dropout,
    "softmax": softmax,
    **dict.fromkeys(("gt", "ge", "lt", "le"), _chance),
    "floor": _rounded,
    **dict.fromkeys(ACTIVATIONS, _act),
}
