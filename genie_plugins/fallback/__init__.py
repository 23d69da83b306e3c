"""Ops that the executor lacks: by decomposition, else on the client's CPU; never silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

import genie_core

if TYPE_CHECKING:
    from genie_core.values import FallbackCall


@genie_core.hookimpl(trylast=True)
def genie_fallback(call: FallbackCall) -> tuple[object]:
    """Run `call` some other way; its result comes as a tuple of one."""
    from genie_plugins.fallback.run import run

    return (run(call),)
