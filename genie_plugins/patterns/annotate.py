"""Writes what was found into a graph's nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import torch.fx

from genie_core.graph import Semantics
from genie_plugins.patterns.memory import memory
from genie_plugins.patterns.replacements import read
from genie_plugins.patterns.search import search
from genie_plugins.patterns.view import View

if TYPE_CHECKING:
    from genie_core import Match
    from genie_plugins.patterns.found import Families, Found

Node = torch.fx.Node

_NAMES = tuple(field.name for field in attrs.fields(Semantics))
_PLACE = _NAMES.index("patterns")


def annotate(graph: torch.fx.Graph) -> None:
    """Find patterns: `Semantics.patterns` of their ops, `meta["matches"]` where they end."""
    with memory.lock:
        view = View(graph, memory)
        if view.steps or view.updates:
            write(view, search(view, memory.found))


def write(view: View, found: Families) -> None:
    """Name each op's instances, innermost first, and leave each match at its last op."""
    changed: dict[Node, list[tuple[int, str]]] = {}
    ends: dict[Node, list[Match]] = {}
    for name, ones in found.items():
        for one in ones:
            match = one.since(view.begin, view.order)
            if match is not None:
                for each in read(match) or [match]:
                    if not each.nodes:  # nothing but views
                        continue
                    ends.setdefault(each.nodes[-1], []).append(each)
            _label(view, name, one, changed)
    for node, matches in ends.items():
        node.meta["matches"] = matches
    for node, labels in changed.items():
        labels.sort()
        known = node.meta["genie"]
        values = [getattr(known, name) for name in _NAMES]
        values[_PLACE] = tuple(name for _, name in labels)
        node.meta["genie"] = Semantics(*values)


def _label(view: View, name: str, one: Found, changed: dict[Node, list[tuple[int, str]]]) -> None:
    """Note the instance's name at its nodes, also at those of earlier programs."""
    size = len(one.nodes)
    for node in dict.fromkeys(one.nodes if one.nodes_to_name is None else one.nodes_to_name):
        home = view.remembered if node.graph is view.graph else memory.view_of(node.graph)
        if home is None:
            continue
        if home.graph not in one.names:
            one.names[home.graph] = f"{name}#{home.counts[name]}"
            home.counts[name] += 1
        labels = home.labels.setdefault(node, [])
        labels.append((size, one.names[home.graph]))
        changed[node] = labels
