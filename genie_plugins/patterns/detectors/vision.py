"""What images go through: blocks and skips."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.step import Step, Value
from genie_plugins.patterns.walk import between, cone, first, numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.view import View

_UPSAMPLES = ("upsample_", "_upsample", "pixel_shuffle", "max_unpool")


def residual_blocks(view: View, found: Families) -> Iterator[Found]:
    """Convolutions with a way around them; not those of attention or of an MLP."""
    others, ends = _others(found), _ends(found)
    for one in found.get("residual", ()):
        if one.end.index < view.begin:
            continue
        end, stream = one.end, one.links["stream"]
        steps = between(stream, end)
        if _is_convolved([s for s in steps if s not in others]) and steps.isdisjoint(ends):
            after = [u for u in end.users if u.name == "act" and u.operands[0] is end]
            yield detected("residual_block", steps | set(after))


def _others(found: Families) -> set[Step]:
    """Convolutions that are part of something else."""
    return {step for one in found.get("mlp", ()) for step in one.steps if step.name == "conv"}


def _ends(found: Families) -> set[Step]:
    """Where attention ends."""
    kinds = ("attention", "cross_attention")
    return {one.end for name in kinds for one in found.get(name, ())}


def _is_convolved(steps: list[Step]) -> bool:
    """Whether neighbours are mixed: of sequences, twice."""
    convs = [step for step in steps if step.name == "conv"]
    mixing = [conv for conv in convs if math.prod(numbers(conv.operands[1].size)[2:]) > 1]
    return any(len(conv.size) > 3 for conv in convs) or len(mixing) > 1


def skips(view: View, found: Families) -> Iterator[Found]:
    """What was there before pooling, put beside or added to what was made larger again."""
    for step in view.steps:
        if len(step.size) not in (3, 4, 5):
            continue
        if step.name == "cat" and len(step.operands) > 1:
            grown = [operand for operand in step.operands if _is_grown(operand)]
            if len(grown) == 1 and (len(step.operands) == 2 or _is_from(grown[0], step.operands)):
                yield detected("unet_skip", [step])
    for one in list(found.get("residual", ())):
        if one.end.index >= view.begin and one.end.name == "add" and _is_skip(one):
            found["residual"].remove(one)
            yield detected("unet_skip", [one.end])


def _is_skip(one: Found) -> bool:
    """Whether what is added was made smaller and larger again on its way."""
    other = [operand for operand in one.end.operands if operand is not one.links["stream"]]
    return len(other) == 1 and _is_grown(other[0]) and not _is_grown(one.links["stream"])


def _is_from(grown: Step, operands: list[Step]) -> bool:
    """Whether what was made larger was computed from one of the others."""
    first_index = min(operand.index for operand in operands)
    above = cone([grown], lambda s: s.index < first_index, 400, extras=False)
    return any(operand in above for operand in operands if operand is not grown)


_THROUGH = {"conv", "batch_norm", "act", "item", "constant_pad_nd", "add", "group_norm", "cat"}
_THROUGH |= {"layer_norm"}


def _is_grown(step: Step) -> bool:
    return first(step, _grows, _THROUGH) is not None


def _grows(step: Step) -> bool:
    """Whether a result has more positions than what it was made of."""
    if not step.values or type(step.values[0]) is not Value or len(step.size) < 3:
        return False
    given = step.values[0].geometry
    if given is None or len(given.size) != len(step.size):
        return False
    after, before = math.prod(numbers(step.size)[2:]), math.prod(numbers(given.size)[2:])
    if step.name.startswith(_UPSAMPLES):
        return after > before
    return step.name == "conv" and after >= 2 * before > 2
