"""Maps that cut an image into patches, whose results are read as a sequence."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.step import Step, Value
from genie_plugins.patterns.walk import numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.view import View

Node = torch.fx.Node

_NORMS = {"layer_norm", "batch_norm", "rms_norm", "group_norm", "item"}


def patches(view: View, found: Families) -> Iterator[Found]:
    """Convolutions with a stride, or linear maps of what was cut before."""
    for step in view.steps:
        if step.name == "conv":
            if _is_cut(step) or _is_overlapping(step):
                yield detected("patch_embedding", [step])
        elif step.name == "linear" and _is_of_patches(step.values[0]):
            yield detected("patch_embedding", [step])


# Convolutions --------------------------------------------------------------------------------


def _is_cut(step: Step) -> bool:
    """Whether an image is cut into patches side by side."""
    kernel, stride = _window(step)
    if not kernel or kernel != stride or step.operands[0].name == "conv":
        return False
    return _is_image(step) and (_is_sequence(step) or _is_one_patch(step)) and _begins(step)


def _is_overlapping(step: Step) -> bool:
    """Whether windows with a margin, or of features, begin the sequence that others go on from."""
    kernel, stride = _window(step)
    if not kernel or any(k < s or s < 2 for k, s in zip(kernel, stride, strict=True)):
        return False
    return _is_read_flat(step) and _begins(step)


def _window(step: Step) -> tuple[list[int], list[int]]:
    """Kernel and stride, of one that has two dimensions or more; else nothing."""
    if step.node is None or step.operands[0].static or len(step.node.args) < 4:
        return [], []
    kernel = list(numbers(step.operands[1].size)[2:])
    given: Any = step.node.args[3]
    stride = [s for s in given if isinstance(s, int)] if isinstance(given, list | tuple) else []
    if len(kernel) < 2 or len(kernel) != len(stride) or max(kernel) < 2:
        return [], []
    return kernel, stride


def _is_image(step: Step) -> bool:
    source = step.operands[0]
    return source.name == "leaf" or numbers(source.size)[1:2] in ((1,), (3,), (4,))


def _read(step: Step) -> Iterator[Any]:
    """How readers see a step's result."""
    for user in step.users:
        for value in user.reads:
            if value.step is step and value.geometry is not None:
                yield value.geometry


def _is_read_flat(step: Step) -> bool:
    """Whether it is read as (batch, positions, channels), channels not side by side."""
    return any(len(seen.size) == 3 and seen.stride[-1] != 1 for seen in _read(step)) or any(
        len(seen.size) == 3 and numbers(seen.size)[-1] == numbers(step.size)[1]
        for seen in _read(step)
    )


def _is_sequence(step: Step) -> bool:
    """Whether channels come last, for who reads it."""
    return any(
        len(seen.size) == 3 or (len(seen.size) == 4 and seen.stride[-1] != 1)
        for seen in _read(step)
    )


def _is_one_patch(step: Step) -> bool:
    """Whether each image is a patch, and results are read as rows."""
    return math.prod(numbers(step.size)[2:]) == 1 and any(
        len(seen.size) == 2 for seen in _read(step)
    )


def _begins(step: Step) -> bool:
    """Whether more than keys and values are made of it: keys of fewer positions are no sequence."""
    todo, steps = [step], 0
    while todo and steps < 8:
        steps += 1
        for user in todo.pop().users:
            if user.name in _NORMS:
                todo.append(user)
            elif user.name != "linear":
                return True
    return False


# Linear maps ---------------------------------------------------------------------------------


def _is_of_patches(value: Value) -> bool:
    """Whether what is mapped was copied patch by patch, perhaps with a norm of each.

    A row of what is read is then as long as a patch has values: (…, channels, height, width), or
    with the channels last.
    """
    trail = list(value.trail)
    width = numbers(value.geometry.size)[-1] if value.geometry is not None else 0
    while value.step.name in _NORMS and type(value.step.values[0]) is Value:
        value = value.step.values[0]
        trail += value.trail
    if value.step.name == "im2col":
        return True
    shown = value.step.name == "leaf" or all(s.name == "leaf" for s in value.step.operands)
    if not shown or value.step.static or value.geometry is None:
        return False
    sources = [node.args[0] for node in trail if node.args]
    sizes = [n.meta["geometry"].size for n in sources if isinstance(n, Node) and "slot" in n.meta]
    return any(len(size) >= 5 and math.prod(numbers(size)[-3:]) == width for size in sizes)
