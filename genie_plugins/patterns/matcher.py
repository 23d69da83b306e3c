"""Looks for a template in the analysis view, from a step that may be its root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.fx
from torch.fx.passes.utils.matcher_utils import InternalMatch, SubgraphMatcher

if TYPE_CHECKING:
    from genie_plugins.patterns.template import Template

Node = torch.fx.Node

_COMMUTATIVE = {"add", "mul", "maximum", "minimum", "square"}


class TemplateMatcher(SubgraphMatcher):
    """FX's matcher, told where to begin, for ops whose operands may be swapped.

    A parameter may be fed by what feeds another. What a failed attempt noted is forgotten where the
    next one begins.
    """

    def __init__(self, template: Template) -> None:
        super().__init__(template.graph)
        self.template = template
        self._wanted = {
            node: [n.target for n in node.args if isinstance(n, Node) and n.op == "call_function"]
            for node in template.graph.nodes
        }

    def match_at(self, node: Node) -> dict[Node, Any] | None:
        """What the template's nodes are in the view if its root is `node`, else None."""
        match = InternalMatch(anchors=[self.template.root])
        if self._match_nodes(self.template.root, node, match):
            found: dict[Node, Any] = match.nodes_map
            return found
        return None

    def _match_nodes(
        self,
        pn: Node,
        gn: Node,
        match: InternalMatch,
        node_name_match: str = "",  # noqa: ARG002 (torch's matcher has it since 2.6)
    ) -> bool:
        known: Any = match.nodes_map
        if pn in known:
            return known[pn] is gn
        if pn.op == "placeholder":
            known[pn] = gn
            return True
        if pn.target is not gn.target:
            return False
        wanted = self._wanted[pn]
        if wanted:
            there = [one.target for one in gn.args if isinstance(one, Node)]
            if any(one not in there for one in wanted):
                return False
        known[pn] = gn
        if len(gn.args) != 2 or pn.target.name not in _COMMUTATIVE:  # type: ignore[union-attr]
            return self._match_args(pn.args, gn.args, match)
        before = dict(known)
        if self._match_args(pn.args, gn.args, match):
            return True
        _restore(known, before)
        return self._match_args(pn.args, gn.args[::-1], match)

    def _match_args(self, pattern: Any, graph: Any, match: InternalMatch) -> bool:
        if len(pattern) != len(graph):
            return False
        for one, other in zip(pattern, graph, strict=True):
            if isinstance(other, Node):
                if not isinstance(one, Node) or not self._match_nodes(one, other, match):
                    return False
            elif isinstance(other, tuple):
                if not isinstance(one, tuple) or not self._match_args(one, other, match):
                    return False
            elif not self._match_literals(one, other, match):
                return False
        return True

    def _match_literals(self, pn: Any, gn: Any, match: InternalMatch) -> bool:
        if isinstance(pn, Node):
            return bool(super()._match_literals(pn, gn, match))
        return not isinstance(pn, tuple) and bool(pn == gn)


def _restore(known: dict[Any, Any], before: dict[Any, Any]) -> None:
    known.clear()
    known.update(before)
