"""What `genie plugins` lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from genie_core.plugins import distributions

if TYPE_CHECKING:
    from genie_core.plugins import PluginManager, State


@attrs.frozen
class Row:
    """One plugin; `dist` and `version` are of the distribution that brings it."""

    name: str
    version: str
    dist: str
    hooks: tuple[str, ...]
    state: State
    reason: str


def listing(manager: PluginManager) -> list[Row]:
    """Every plugin found, blocked and broken ones too, sorted by name."""
    dists = distributions()
    rows = []
    for plugin in sorted(manager.plugins, key=lambda plugin: plugin.name):
        dist = dists.get((plugin.name, plugin.module))
        version, name = (dist.version, dist.name) if dist else ("", "")
        rows.append(Row(plugin.name, version, name, plugin.hooks, plugin.state, plugin.reason))
    return rows
