"""What images go through: patches, blocks, skips, heads."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch.fx

from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.step import Step, Value
from genie_plugins.patterns.walk import between, first, numbers

if TYPE_CHECKING:
    from genie_plugins.patterns.view import View

Node = torch.fx.Node

_UPSAMPLES = ("upsample_", "_upsample", "pixel_shuffle", "max_unpool")
_POOLS = (
    "adaptive_avg_pool",
    "_adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "mean",
    "amax",
)


def patches(view: View, found: Families) -> Iterator[Found]:
    """Convolutions that cut an image into patches, whose results are read as a sequence."""
    for step in view.steps:
        if _is_convolved(step) or (step.name == "linear" and _is_of_patches(step.values[0])):
            yield detected("patch_embedding", [step])


def _is_convolved(step: Step) -> bool:
    return step.name == "conv" and _cuts(step) and _is_sequence(step)


def _is_of_patches(value: Value) -> bool:
    """Whether an input was copied patch by patch: (…, channels, height, width) or with them last.

    A row of what is read is then as long as a patch has values.
    """
    if value.step.name != "leaf" or value.step.static or value.geometry is None:
        return False
    sources = [node.args[0] for node in value.trail if node.args]
    sizes = [n.meta["geometry"].size for n in sources if isinstance(n, Node) and "slot" in n.meta]
    width = numbers(value.geometry.size)[-1]
    return any(len(size) >= 5 and math.prod(numbers(size)[-3:]) == width for size in sizes)


def _cuts(step: Step) -> bool:
    if step.node is None or step.operands[0].name == "conv" or step.operands[0].static:
        return False
    kernel = numbers(step.operands[1].size)[2:]
    stride = step.node.args[3]
    stride = [s for s in stride if isinstance(s, int)] if isinstance(stride, list | tuple) else []
    return len(kernel) > 1 and kernel[0] > 1 and list(kernel) == stride and _is_image(step)


def _is_image(step: Step) -> bool:
    source = step.operands[0]
    return source.name == "leaf" or numbers(source.size)[1:2] in ((1,), (3,), (4,))


def _is_sequence(step: Step) -> bool:
    """Whether channels come last, for who reads it."""
    for user in step.users:
        for value in user.values:
            for one in value if isinstance(value, tuple) else (value,):
                if type(one) is Value and one.step is step and one.geometry is not None:
                    if len(one.geometry.size) == 3:
                        return True
                    if len(one.geometry.size) == 4 and one.geometry.stride[-1] != 1:
                        return True
    return False


def residual_blocks(view: View, found: Families) -> Iterator[Found]:
    """Convolutions with a way around them."""
    for one in found.get("residual", ()):
        if one.end.index < view.begin:
            continue
        end, stream = one.end, one.links["stream"]
        steps = between(stream, end)
        if sum(s.name == "conv" and len(s.size) == 4 for s in steps):
            after = [u for u in end.users if u.name == "act" and u.operands[0] is end]
            yield detected("residual_block", steps | set(after))


def skips(view: View, found: Families) -> Iterator[Found]:
    """What was there before pooling, put beside what was made larger again."""
    for step in view.steps:
        if step.name != "cat" or len(step.operands) != 2 or len(step.size) not in (4, 5, 3):
            continue
        ups = [_enlarged(operand) for operand in step.operands]
        if ups.count(None) == 1:
            yield detected("unet_skip", [step])


def _enlarged(step: Step) -> Step | None:
    return first(step, _enlarges, {"conv", "batch_norm", "act", "item", "constant_pad_nd", "add"})


def _enlarges(step: Step) -> bool:
    if step.name == "conv" and step.node is not None:
        return True in step.node.args[5:8]
    return step.name.startswith(_UPSAMPLES)


def heads(view: View, found: Families) -> Iterator[Found]:
    """Pooled features, and the linear map of them; an excitation is none."""
    inside = {s for one in found.get("squeeze_excite", ()) for s in one.steps}
    for step in view.steps:
        if step.name != "linear" or step in inside:
            continue
        pool = first(step.operands[0], _pools, {"layer_norm", "batch_norm", "act", "item"})
        if pool is not None and pool not in inside:
            yield detected("pooling_head", between(pool.operands[0], step))


def _pools(step: Step) -> bool:
    if not step.name.startswith(_POOLS) or not step.operands:
        return False
    size, given = numbers(step.size), numbers(step.operands[0].size)
    if len(given) < 4:
        return len(given) == 3 and len(size) == 2
    spatial = size[2:]
    return all(s == 1 for s in spatial) or step.name.startswith(("adaptive", "_adaptive"))
