"""Transformer blocks, stacks of them, pairs of stacks: made of what was found before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from genie_plugins.patterns.detectors.attention import every
from genie_plugins.patterns.found import Families, Found, detected
from genie_plugins.patterns.walk import between, first, users

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step
    from genie_plugins.patterns.view import View

_FEED_FORWARD = ("mlp", "gated_mlp", "moe_routing")
_LONGEST = 200
"""How many steps a block may have before the program that it ends in."""
_BESIDE = {"cat", "mul", "add", "neg", "update", "index_copy", "index_put"}
_NORMS = ("layer_norm", "rms_norm")


@attrs.define(eq=False)
class _Sum:
    """A residual sum, and what is on its branch."""

    one: Found
    stream: Step
    attention: list[Found]
    feed_forward: list[Found]

    @property
    def end(self) -> Step:
        return self.one.end


def blocks(view: View, found: Families) -> Iterator[Found]:
    """Attention and MLP, each with a norm and a residual sum, one behind the other or beside."""
    for step in view.steps:
        if step.name == "_transformer_encoder_layer_fwd":
            links = {"start": step.operands[0], "end": step}
            yield detected("transformer_block", [step], links=links, causal=False, cross=False)
    sums = _sums(found, view.begin)
    if not sums:
        return
    norms = _norm_ends(found, view.begin)
    by_end = {s.end: s for s in sums}
    for last in sums:
        if not last.feed_forward:
            continue
        members = [last]
        while not members[0].attention or _continues(members[0], by_end, norms):
            before = by_end.get(_plain(members[0].stream, norms))
            if before is None or before.feed_forward or not before.attention:
                break
            members.insert(0, before)
        if not last.attention and len(members) == 1:
            members = _around_convolution(last, by_end, norms)
        if any(member.attention for member in members) and last.end.index >= view.begin:
            yield _block(members, norms)


def _around_convolution(
    last: _Sum, by_end: dict[Step, _Sum], norms: dict[Step, Found]
) -> list[_Sum]:
    """A block with a convolution behind its attention, and half an MLP before."""

    def before(member: _Sum) -> _Sum | None:
        return by_end.get(_plain(member.stream, norms))

    convolution = before(last)
    if convolution is None or convolution.attention or convolution.feed_forward:
        return [last]
    attention = before(convolution)
    if attention is None or not attention.attention:
        return [last]
    first_half = before(attention)
    members = [attention, convolution, last]
    return members if first_half is None or not first_half.feed_forward else [first_half, *members]


def _continues(member: _Sum, by_end: dict[Step, _Sum], norms: dict[Step, Found]) -> bool:
    """Whether another attention, without an MLP, comes right before."""
    before = by_end.get(_plain(member.stream, norms))
    return before is not None and bool(before.attention) and not before.feed_forward


def _norm_ends(found: Families, begin: int) -> dict[Step, Found]:
    norms = (one for name in _NORMS for one in _recent(found.get(name, ()), begin))
    return {one.end: one for one in norms}


def _plain(step: Step, norms: dict[Step, Found]) -> Step:
    """What a norm was taken of."""
    one = norms.get(step)
    return one.inputs["x"].step if one is not None else step


def _recent(ones: Iterable[Found], begin: int) -> list[Found]:
    """Those that a block which ends in this view may have."""
    return [one for one in ones if one.end.index >= begin - _LONGEST]


def _sums(found: Families, begin: int) -> list[_Sum]:
    recent = _recent(found.get("residual", ()), begin)
    if not recent or recent[-1].end.index < begin:
        return []
    sums = [_Sum(one, one.links["stream"], [], []) for one in recent]
    by_end = {s.end: s for s in sums}
    for one in _recent(every(found), begin):
        if (home := users(one.end, lambda s: s in by_end)) is not None:
            by_end[home].attention.append(one)
    for name in _FEED_FORWARD:
        for one in _recent(found.get(name, ()), begin):
            if (home := users(one.end, lambda s: s in by_end)) is not None:
                by_end[home].feed_forward.append(one)
    return sums


def _block(members: list[_Sum], norms: dict[Step, Found]) -> Found:
    end = members[-1].end
    start = members[0].stream
    if members[-1].stream in norms or _is_post(members, norms):
        after = [s for s in norms if norms[s].inputs["x"].step is end]
        end = after[0] if after else end
    steps = between(start, end)
    steps |= {u for s in steps - {end} for u in s.users if u.name == "dropout"}
    parts = [m.one for m in members]
    parts += [one for m in members for one in (*m.attention, *m.feed_forward)]
    causal = any(one.literals.get("causal") for m in members for one in m.attention)
    crossed = any(one.pattern.name == "cross_attention" for m in members for one in m.attention)
    return detected(
        "transformer_block",
        steps,
        parts=parts,
        links={"start": start, "end": end},
        causal=causal,
        cross=crossed,
    )


def _is_post(members: list[_Sum], norms: dict[Step, Found]) -> bool:
    return len(members) > 1 and members[-1].stream in norms


# Stacks --------------------------------------------------------------------------------------


def stacks(found: Families) -> list[list[Found]]:
    """Blocks that go on from each other, at least two."""
    ones = sorted(found.get("transformer_block", ()), key=lambda one: one.end.index)
    chains: dict[Step, list[Found]] = {}
    every_chain: list[list[Found]] = []
    for one in ones:
        chain = chains.pop(one.links["start"], None)
        if chain is None:
            chain = []
            every_chain.append(chain)
        chain.append(one)
        chains[one.links["end"]] = chain
    return [chain for chain in every_chain if len(chain) > 1]


def decoders(view: View, found: Families) -> Iterator[Found]:
    """Stacks of blocks that look back only."""
    for chain in stacks(found):
        new = chain[-1].end.index >= view.begin
        if new and any(one.literals["causal"] for one in chain):
            yield _grown(found, detected("decoder", [], parts=chain, blocks=len(chain)))


def _grown(found: Families, stack: Found) -> Found:
    """The stack under the name that its beginning has in earlier programs."""
    name = stack.pattern.name
    for older in list(found.get(name, ())):
        if older.parts[0] is stack.parts[0]:
            stack.names = older.names
            known = set(older.nodes)
            stack.nodes_to_name = tuple(node for node in stack.nodes if node not in known)
            found[name].remove(older)
    return stack


def encoder_decoders(view: View, found: Families) -> Iterator[Found]:
    """Two stacks of which one attends to the other's result."""
    chains = stacks(found)
    for chain in chains:
        if not chain[0].literals["cross"] or chain[-1].end.index < view.begin:
            continue
        for other in chains:
            if other is not chain and not other[0].literals["cross"] and _feeds(other, chain):
                pair = detected("encoder_decoder", [], parts=[*other, *chain])
                yield _grown(found, pair)


def _feeds(encoder: list[Found], decoder: list[Found]) -> bool:
    """Whether keys of the decoder's cross-attention are made of the encoder's result, by itself.

    Later tokens of a generation have them from before.
    """
    begin, last = decoder[0].links["start"].index, encoder[-1]
    for part in decoder[0].parts:
        if part.pattern.name == "cross_attention":
            key = first(part.inputs["k"].step, lambda s: s.name == "linear", _BESIDE)
            if key is not None and key.index > begin:
                return last.links["end"] in between(last.links["start"], key)
    return False
