"""All matches of a graph: templates by the op they end with, then what is made of matches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_core.apart import apart
from genie_core.log import get_logger
from genie_core.plugins import manager
from genie_plugins.patterns.detectors import DETECTORS, FIRST
from genie_plugins.patterns.detectors.chains import joined
from genie_plugins.patterns.found import Families, Found
from genie_plugins.patterns.matcher import TemplateMatcher
from genie_plugins.patterns.step import Step, Value, step_of
from genie_plugins.patterns.template import trace

if TYPE_CHECKING:
    from genie_core import Pattern
    from genie_plugins.patterns.view import View

Node = torch.fx.Node


_log = get_logger("patterns")


Above = tuple[tuple[str, tuple[str, ...]], ...]
"""Names of operands, each with those of its own."""


class Index:
    """Templates by the op that they end with, and by what is right above it.

    Which may end at a step is found out once for all steps with the same neighbours, as the blocks
    of a model have.
    """

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._by_root: dict[str, list[TemplateMatcher]] = {}
        self._fitting: dict[tuple[str, Above], list[TemplateMatcher]] = {}
        for pattern in patterns:
            for spelling in pattern.spellings:
                self._add(pattern, spelling)
        for matchers in self._by_root.values():
            matchers.sort(key=lambda m: -m.template.size)

    def _add(self, pattern: Pattern, spelling: Callable[..., Any]) -> None:
        try:
            template = trace(pattern, spelling)
        except Exception as error:
            _log.warning("pattern.untraced", pattern=pattern.name, reason=str(error))
            return
        if template is not None:
            name = template.root.target.name  # type: ignore[union-attr]
            self._by_root.setdefault(name, []).append(TemplateMatcher(template))

    def fitting(self, step: Step) -> list[TemplateMatcher]:
        """The templates that may end at a step, the largest first."""
        matchers = self._by_root.get(step.name)
        if matchers is None:
            return _NONE
        above = tuple([(o.name, tuple([i.name for i in o.operands])) for o in step.operands])
        key = (step.name, above)
        found = self._fitting.get(key)
        if found is None:
            found = [m for m in matchers if _fits(m.template.needs, above)]
            if len(self._fitting) < _MOST:
                self._fitting[key] = found
        return found


_NONE: list[TemplateMatcher] = []
_MOST = 1 << 14
_NORMS = ("layer_norm", "rms_norm")


def _fits(needs: Above, above: Above) -> bool:
    """Whether each operand that a template needs is there, with the operands that it needs."""
    return all(
        any(name == one and set(inner) <= set(others) for one, others in above)
        for name, inner in needs
    )


@lru_cache(None)
def index() -> Index:
    """Every plugin's templates."""
    return apart(lambda: Index(_given()))


def _given() -> Iterable[Pattern]:
    """What the plugins' `genie_patterns` give; one that raises is named, and gives none."""
    for implementation in manager().hook.genie_patterns.get_hookimpls():
        try:
            yield from implementation.function()
        except Exception as error:
            plugin, reason = implementation.plugin_name, f"{type(error).__name__}: {error}"
            _log.warning("hook.failed", hook="genie_patterns", plugin=plugin, reason=reason)


def search(view: View, known: Families) -> Families:
    """What is found in a view, by family. `known`, found in earlier views, grows by that."""
    before = {one for ones in known.values() for one in ones}
    candidates: Families = {}
    templates = index()
    for step in view.steps:
        for one in _at(step, templates.fitting(step), view.order):
            candidates.setdefault(one.pattern.name, []).append(one)
    apart = {name: _apart(ones) for name, ones in candidates.items()}
    layers = {step for one in apart.get("layer_norm", ()) for step in one.steps}
    apart["rms_norm"] = [one for one in apart.get("rms_norm", ()) if one.end not in layers]
    for name, detector in FIRST:
        apart.setdefault(name, []).extend(detector(view, apart))
    excited = {step for one in apart["squeeze_excite"] for step in one.steps}
    mlps = sorted(apart["mlp"], key=lambda one: one.end.index)
    apart["mlp"] = joined([one for one in mlps if one.end not in excited])
    crossed = {step for one in apart.get("feature_interaction", ()) for step in one.steps}
    bags = apart.get("embedding_bag", [])
    apart["embedding_bag"] = [one for one in bags if one.end not in crossed]
    for name, ones in apart.items():
        known.setdefault(name, []).extend(ones)
    for name, detector in DETECTORS:
        more = list(detector(view, known))
        known.setdefault(name, []).extend(more)
    return {name: [o for o in ones if o not in before] for name, ones in known.items()}


def _at(step: Step, matchers: list[TemplateMatcher], order: dict[Node, int]) -> list[Found]:
    """The largest match of each family that ends at a step."""
    found: dict[str, Found] = {}
    for matcher in matchers:
        template = matcher.template
        if template.pattern.name in found:
            continue
        nodes = matcher.match_at(step.fx)
        if nodes is not None:
            one = _found(template.pattern, nodes, matcher)
            guard = template.pattern.guard
            if guard is None or guard(one.match(order)):
                found[template.pattern.name] = one
    return list(found.values())


def _found(pattern: Pattern, nodes: dict[Node, Any], matcher: TemplateMatcher) -> Found:
    inputs: dict[str, Value] = {}
    literals: dict[str, Any] = {}
    steps: list[Step] = []
    for own, other in nodes.items():
        if own.op != "placeholder":
            step = step_of(other)
            steps.append(step)
            _feed(own.args, step.values, nodes, inputs)
        elif not isinstance(other, Node):
            literals[own.name] = other
    steps.sort(key=lambda step: step.index)
    recorded = _recorded(steps)
    outputs = tuple(step_of(nodes[own]) for own in matcher.pattern_returning_nodes if own in nodes)
    return Found(pattern, tuple(steps), recorded, inputs, outputs, literals)


def _recorded(steps: list[Step]) -> tuple[Node, ...]:
    """What the steps stand for, with what is looked through between them or at parameters."""
    own = set(steps)
    nodes = [node for step in steps for node in step.nodes]
    for step in steps:
        for value in step.reads:
            if value.step in own or value.step.static:
                nodes += value.trail
                if step.name in _NORMS:
                    nodes += value.step.nodes if value.step.static else ()  # 1 + weight
    return tuple(nodes)


def _feed(own: Any, values: Any, nodes: dict[Node, Any], inputs: dict[str, Value]) -> None:
    """Note what is read for each parameter; operands may have been swapped."""
    for one, value in zip(own, values, strict=False):
        if isinstance(one, Node) and one.op == "placeholder":
            other = nodes.get(one)
            read = (v for v in (value, *values) if type(v) is Value and v.step.fx is other)
            found = next(read, None)
            if found is not None:
                inputs.setdefault(one.name, found)
        elif isinstance(one, tuple) and isinstance(value, tuple):
            _feed(one, value, nodes, inputs)


def _apart(ones: list[Found]) -> list[Found]:
    """Those matches of a family of which none is another's part, the largest preferred.

    They may share a little: the cells of a recurrent layer, the product with all of their inputs.
    """
    taken: set[Step] = set()
    kept = []
    for one in sorted(ones, key=lambda one: (-len(one.steps), one.end.index)):
        shared = sum(step in taken for step in one.steps)
        if one.end not in taken and shared * 2 < len(one.steps):
            taken.update(one.steps)
            kept.append(one)
    return sorted(kept, key=lambda one: one.end.index)
