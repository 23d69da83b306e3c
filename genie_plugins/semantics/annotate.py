"""All that can be told of a graph's nodes, in the order in which one thing follows from another."""

from __future__ import annotations

import torch.fx

from genie_core.graph import Semantics
from genie_plugins.semantics import borrowed, caches, earlier, modality, modules, phases, roles
from genie_plugins.semantics.flow import Flow
from genie_plugins.semantics.meaning import change
from genie_plugins.semantics.origin import origin_of
from genie_plugins.semantics.owners import find_owners

Node = torch.fx.Node

_RESIDENCY = {
    "weight": "pinned",
    "buffer": "pinned",
    "kv_cache": "pinned",
    "optimizer_state": "pinned",
    "input": "streamed",
}


def annotate(graph: torch.fx.Graph) -> None:
    """Write module, phase, role, residency and modality of each node that has a tensor."""
    flow = Flow(graph)
    for node in flow.ops:
        _begin(node)
    borrowed.disclaim_lines(flow)
    owners = find_owners(set(flow.values.values()))
    borrowed.relocate(flow, owners)
    modules.tell(flow, owners)
    found = caches.find(flow, owners)
    phases.tell(flow, found)
    roles.tell(flow, owners, found)
    modality.tell(flow)
    phases.part(flow)
    for node in graph.nodes:
        _complete(node)
    earlier.remember(flow)


def _begin(node: Node) -> None:
    """Give a node what its op's origin alone says."""
    origin = origin_of(node.meta["mark"])
    change(
        node,
        origin=origin.place,
        module=origin.module,
        module_type=origin.module_type,
        root=origin.root,
    )


def _complete(node: Node) -> None:
    """Give a node what follows from its role; a view or a part of a result, its maker's."""
    if "slot" in node.meta and "op" not in node.meta and node.op != "placeholder":
        node.meta["genie"] = node.args[0].meta.get("genie", Semantics())  # type: ignore[union-attr]
    elif "genie" in node.meta:
        role = node.meta["genie"].role
        change(node, residency=_RESIDENCY.get(role, "transient") if role else "")
