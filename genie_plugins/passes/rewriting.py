"""Runs the passes over a copy of a program, and encodes what comes out."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch.fx

from genie_core.errors import SettingsError
from genie_core.graph import CONTROL
from genie_core.log import get_logger
from genie_core.plugins import manager
from genie_core.program import Encoder
from genie_core.protocol import Rewrite
from genie_core.settings import Settings
from genie_plugins.passes.purity import ops_of
from genie_plugins.passes.replace import Replace

if TYPE_CHECKING:
    from genie_core._native import Sealed
    from genie_core.contracts import Pass

_log = get_logger("passes")


@lru_cache(None)
def passes() -> tuple[Pass, ...]:
    """The passes that are on, in the order in which they run: those of other plugins first.

    Raises `SettingsError` for a name in `GENIE_PASSES` that no pass has.
    """
    hook = manager().hook
    patterns = [one for each in hook.genie_patterns() for one in each]
    given: list[Pass] = [Replace(one) for one in patterns if one.replacement is not None]
    given += [one for each in hook.genie_passes() for one in each]
    wanted = Settings.from_env().passes
    known = {one.name for one in given}
    for name in wanted:
        if name.lstrip("-") not in known | {"all"}:
            names = ", ".join(sorted(known))
            raise SettingsError("GENIE_PASSES", name, f"give all or some of {names}; -NAME is off")
    ours = [one for one in given if type(one).__module__.startswith("genie_plugins.passes.")]
    return tuple(
        one for one in [*(o for o in given if o not in ours), *ours] if _is_on(one, wanted)
    )


def _is_on(one: Pass, wanted: tuple[str, ...]) -> bool:
    on = one.tolerance == 0
    for name in wanted:
        if name.lstrip("-") in ("all", one.name):
            on = not name.startswith("-")
    return on


def rewrite(graph: torch.fx.Graph, sealed: Sealed) -> Rewrite | None:
    """What the passes make of a program; None where they find nothing.

    A program with another library's op has none: to compare both would be to run that op twice,
    and nobody knows what it does besides. Nor has one with a loop, which may be long.
    """
    ops = [node.meta["op"] for node in ops_of(graph)]
    if any(op.partition("::")[0] not in ("aten", "genie") or op in CONTROL for op in ops):
        return None
    draft = _copy(graph)
    changed: dict[str, int] = {}
    tolerance = 0.0
    for one in passes():
        places = one.apply(draft)
        if places:
            changed[one.name] = places
            tolerance = max(tolerance, one.tolerance)
    if not changed:
        return None
    _log.debug("program.rewritten", program=sealed.program, **changed)
    return _encode(draft, sealed, changed, tolerance)


def _copy(graph: torch.fx.Graph) -> torch.fx.Graph:
    for index, node in enumerate(ops_of(graph)):
        node.meta["index"] = index
    draft = torch.fx.Graph()
    draft.output(draft.graph_copy(graph, {}))
    return draft


def _encode(
    draft: torch.fx.Graph, sealed: Sealed, changed: dict[str, int], tolerance: float
) -> Rewrite:
    encoder = Encoder()
    ops = ops_of(draft)
    for node in ops:
        encoder.add(node)
    slots = 1 + max(
        (output[1] for node in ops for output in node.meta["outputs"] if output[0] == 0), default=0
    )
    return Rewrite(
        slots=max(slots, sealed.slots),
        tensors=encoder.tensors,
        ops=encoder.ops,
        origins=[node.meta["index"] for node in ops],
        once=[position for position, node in enumerate(ops) if node.meta.get("once")],
        guards=_guards(draft),
        tolerance=tolerance,
        passes=changed,
    )


def _guards(draft: torch.fx.Graph) -> list[tuple[int, int]]:
    """The lifted numbers that a pass relied on, as `meta["guarded"]` of their placeholders says."""
    symbols: Any = [node for node in draft.nodes if node.meta.get("guarded")]
    return [(node.meta["symbol"], node.meta["example"]) for node in symbols]
