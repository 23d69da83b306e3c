"""Other words for matches, to the last op.

Matches are found in a view that leaves out masks, scales and biases. What is here reads the ops of
one again, as they were recorded, and says what they do in full, or that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.fx

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements import attention, cells, convolutions, norms

Reading = Callable[[Match], "Match | None"]

_READINGS: dict[str, Reading] = {
    "attention": attention.read,
    "cross_attention": attention.read,
    "cell_loop": cells.read,
    "conv_bn_act": convolutions.read,
    "layer_norm": norms.read_layer,
    "rms_norm": norms.read_rms,
}


def patterns() -> list[Pattern]:
    """What replaces matches; each has a pass of its name."""
    return [attention.PATTERN, cells.PATTERN, convolutions.PATTERN, norms.LAYER, norms.RMS]


def read(match: Match) -> Match | None:
    """A match in full, with what replaces it; None where that is not known."""
    reading = _READINGS.get(match.pattern.name)
    if reading is None or not match.nodes or not all(map(_is_precise, match.nodes)):
        return None
    return reading(match)


def _is_precise(node: torch.fx.Node) -> bool:
    """Whether results have the digits that the tolerances speak of."""
    results = [output[2].dtype for output in node.meta["outputs"] if output[0] == 0]
    return not any(dtype in (torch.bfloat16, torch.float16) for dtype in results)
