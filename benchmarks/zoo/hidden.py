"""Graphs without what names modules: what the matchers that are judged get to see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from genie_core.context import Context

if TYPE_CHECKING:
    import torch.fx


@contextlib.contextmanager
def hidden(graph: torch.fx.Graph) -> Iterator[None]:
    """Hide modules, parameters, places and calls while the `with` block lasts.

    What is left of a node's meaning: phase, role, residency, modality. Changes made to it are gone
    afterwards.
    """
    kept = [(node, dict(node.meta)) for node in graph.nodes]
    for node in graph.nodes:
        _blank(node)
    try:
        yield
    finally:
        for node, meta in kept:
            node.meta.clear()
            node.meta.update(meta)


def _blank(node: torch.fx.Node) -> None:
    if "genie" in node.meta:
        known = {"origin": "", "module": None, "module_type": "", "root": "", "parameters": ()}
        known |= {"annotations": (), "forward": None}
        if hasattr(node.meta["genie"], "patterns"):
            known["patterns"] = ()
        node.meta["genie"] = attrs.evolve(node.meta["genie"], **known)
    if "mark" in node.meta:
        mark = node.meta["mark"]
        context = Context(mark.context.phase)
        node.meta["mark"] = attrs.evolve(mark, context=context, source=None, origin="")
    node.meta.pop("matches", None)
