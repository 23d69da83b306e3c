"""What data represents: told where it enters a model, and passed on with the data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch.fx

from genie_plugins.semantics import earlier
from genie_plugins.semantics.meaning import change

if TYPE_CHECKING:
    from genie_core.graph import Mark
    from genie_plugins.semantics.flow import Flow

Node = torch.fx.Node

_FORWARD = {"forward", "eval", "prefill", "decode"}
_CONVOLUTIONS = {"convolution", "_convolution", "conv1d", "conv2d", "convolution_overrideable"}
_NONE: frozenset[str] = frozenset()


def tell(flow: Flow) -> None:
    """Write `modality` of the ops of forwards; where several meet, it is "fusion"."""
    now = {slot: _known(_recalled(node)) for slot, node in flow.placeholders.items()}
    tokens = {slot for slot, node in flow.placeholders.items() if _may_be_tokens(node)}
    for index, node in enumerate(flow.ops):
        if node.meta["genie"].phase not in _FORWARD:
            _take_from_forward(flow, node)
            continue
        found = _entry(flow, index, tokens).union(
            *(now.get(slot, _NONE) for slot in flow.reads[index])
        )
        if not tokens.isdisjoint(flow.reads[index]):
            tokens.update(flow.writes[index])
        for slot in flow.writes[index]:
            now[slot] = found
        name = "fusion" if len(found) > 1 else next(iter(found), "")
        change(node, modality=name)


def _take_from_forward(flow: Flow, node: Node) -> None:
    """Give a backward's op the modality of the op that it differentiates, in the same program."""
    mark: Mark = node.meta["mark"]
    if mark.forward is not None and mark.source is None:
        modality = flow.ops[mark.forward[1]].meta["genie"].modality
        change(node, modality=modality)


def _known(name: str) -> frozenset[str]:
    return frozenset((name,)) if name else _NONE


def _recalled(node: Node) -> str:
    return earlier.recall(node.meta["value"]).modality


def _may_be_tokens(node: Node) -> bool:
    geometry = node.meta["geometry"]
    integers = geometry is not None and not (
        geometry.dtype.is_floating_point or geometry.dtype.is_complex
    )
    return integers and node.meta["genie"].role == "input"


def _entry(flow: Flow, index: int, tokens: set[int]) -> frozenset[str]:
    """The modality of data that an op takes into a model.

    A lookup by (batch, length) integers that come from the input is of text; one by integers that
    are the model's own, of positions.
    """
    name = flow.name(index)
    if "embedding_bag" in name:
        return _known("recommendation")
    if name == "embedding" and flow.argument(index, 1) in tokens:
        return _known("text" if len(_size(flow, index, 1)) == 2 else "")
    if name in _CONVOLUTIONS and _is_input(flow, flow.argument(index, 0)):
        return _known(_of_convolution(_size(flow, index, 0)))
    return _NONE


def _is_input(flow: Flow, slot: int | None) -> bool:
    node = None if slot is None else flow.placeholders.get(slot)
    return node is not None and node.meta["genie"].role == "input"


def _of_convolution(size: tuple[object, ...]) -> str:
    """Of what an image's shape has, or a spectrogram's: (batch, channels, …)."""
    if len(size) == 4:
        square = size[2] == size[3]
        return "vision" if size[1] in (3, 4) or (size[1] == 1 and square) else ""
    return "audio" if len(size) == 3 else ""


def _size(flow: Flow, index: int, position: int) -> tuple[object, ...]:
    node = flow.ops[index].args[position]
    geometry = node.meta.get("geometry") if isinstance(node, Node) else None
    return () if geometry is None else tuple(geometry.size)
