"""Patterns in graphs: attention, norms, blocks, cells, updates…, named at `Semantics.patterns`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch.fx


@genie_core.hookimpl
def genie_patterns() -> Sequence[genie_core.Pattern]:
    """Genie's own library."""
    from genie_plugins.patterns import library, replacements

    return (*library.patterns(), *replacements.patterns())


@genie_core.hookimpl(trylast=True)
def genie_annotate(graph: torch.fx.Graph) -> None:
    """Write into each op's `Semantics` what it is part of; phases and roles are told by then."""
    from genie_plugins.patterns.annotate import annotate

    annotate(graph)
