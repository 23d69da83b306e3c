"""Other words for matches, to the last op.

Matches are found in a view that leaves out masks, scales and biases. What is here reads the ops of
one again, as they were recorded, and says what they do in full, or that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.fx

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements import (
    adam,
    attention,
    cells,
    convolutions,
    momentum,
    norms,
)

Reading = Callable[[Match], "Iterable[Match]"]


def _at_most_one(reading: Callable[[Match], Match | None]) -> Reading:
    return lambda match: [found for found in [reading(match)] if found is not None]


_READINGS: dict[str, Reading] = {
    "attention": _at_most_one(attention.read),
    "cross_attention": _at_most_one(attention.read),
    "cell_loop": _at_most_one(cells.read),
    "conv_bn_act": _at_most_one(convolutions.read),
    "layer_norm": _at_most_one(norms.read_layer),
    "rms_norm": _at_most_one(norms.read_rms),
    "adam": adam.read,
    "adamw": adam.read,
    "sgd": momentum.read,
}


def patterns() -> list[Pattern]:
    """What replaces matches; each has a pass of its name."""
    one_op = [attention.PATTERN, cells.PATTERN, convolutions.PATTERN, norms.LAYER, norms.RMS]
    return [*one_op, *adam.PATTERNS, momentum.PATTERN]


def read(match: Match) -> list[Match]:
    """A match in full, with what replaces it, or several of its parts; none where not known."""
    reading = _READINGS.get(match.pattern.name)
    if reading is None or not match.nodes or not all(map(_is_precise, match.nodes)):
        return []
    return list(reading(match))


def _is_precise(node: torch.fx.Node) -> bool:
    """Whether results have the digits that the tolerances speak of."""
    results = [output[2].dtype for output in node.meta["outputs"] if output[0] == 0]
    return not any(dtype in (torch.bfloat16, torch.float16) for dtype in results)
