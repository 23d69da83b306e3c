"""What values mean that a program left for later ones, as long as both are seen first."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from genie_core.graph import Semantics

if TYPE_CHECKING:
    from genie_plugins.semantics.flow import Flow
    from genie_plugins.semantics.owners import Value

MOST = 1 << 14
_known: OrderedDict[Value, Semantics] = OrderedDict()


def remember(flow: Flow) -> None:
    """Keep what is known of the values that the graph's first run leaves."""
    for index, node in enumerate(flow.ops):
        for slot in flow.writes[index]:
            if slot in flow.values:
                _known[flow.values[slot]] = node.meta["genie"]
                _known.move_to_end(flow.values[slot])
    while len(_known) > MOST:
        _known.popitem(last=False)


def recall(value: Value) -> Semantics:
    """What is known of a value; nothing of most."""
    return _known.get(value, Semantics())
