"""The truth of a graph, by the rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .calls import Call, call_of
from .composed import COMPOSITIONS, Composition, compose
from .families import RULES
from .rule import Rule, names
from .truth import Ops, Ran, Truth

if TYPE_CHECKING:
    import torch.fx

NEUTRAL = names(
    "alloc clone _to_copy contiguous copy _copy_from detach zeros empty zeros_like empty_like ones"
    " full full_like constant_pad_nd scalar_tensor arange repeat resize lift_fresh expand_copy"
)
"""Ops that compute nothing."""


def label(
    nodes: Sequence[torch.fx.Node],
    rules: Sequence[Rule] = RULES,
    compositions: Sequence[Composition] = COMPOSITIONS,
) -> Truth:
    """The truth of a graph, of which `nodes` are the recorded ops; their model has to live yet."""
    ran = Ran(nodes)
    found = [
        instance
        for call in ran.calls
        for rule in rules
        if rule.applies(call)
        for instance in rule.instances(ran, call)
    ]
    found += compose(ran, found, compositions)
    undecided: dict[str, Ops] = defaultdict(frozenset)
    for instance in found:
        if not instance.core:
            undecided[instance.family] |= instance.open
    instances = tuple(instance for instance in found if instance.core)
    return Truth(instances, dict(undecided), frozenset(ran.named(range(len(nodes)), NEUTRAL)))


def phases(node: torch.fx.Node) -> frozenset[str]:
    """What an op's phase may truly be called; nothing where all is a matter of taste.

    A generation's first call of the model is prefill, if it is no encoder-decoder's; what it does
    between calls of the model is of no phase. A model's call that makes a cache is eval or prefill.
    """
    call = call_of(node)
    if call is None:
        return frozenset(() if node.meta["op"].startswith("genie::") else ("backward",))
    *inner, run = call.chain()
    modules = [outer for outer in inner if outer.kind == "module"]
    if any(outer.kind == "optimizer" for outer in inner):
        return frozenset(("optimizer",))
    if run.name == "generate":
        return _of_generation(modules[-1]) if modules else frozenset()
    if run.name == "eval" and modules and _setting(modules[-1], "use_cache"):
        return frozenset(("eval", "prefill"))
    return frozenset((run.name,))


def _of_generation(root: Call) -> frozenset[str]:
    if root.order:
        return frozenset(("decode",))
    return frozenset(() if _setting(root, "is_encoder_decoder") else ("prefill",))


def _setting(root: Call, name: str) -> bool:
    return bool(getattr(getattr(root.module, "config", None), name, False))
