"""What the executor says at the end: of rewrites, and of strides that were inferred."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from genie_core.errors import GenieError

if TYPE_CHECKING:
    from genie_core.protocol import Outcome
    from genie_core.session import Session


@attrs.define
class Report:
    """What one executor says."""

    outcomes: dict[int, Outcome] = attrs.Factory(dict)
    """By program."""
    restrided: dict[str, int] = attrs.Factory(dict)
    """How often an op's real strides were not those that shape inference had promised."""


def ask(session: Session) -> Report:
    """Ask an executor; one that is gone says nothing."""
    try:
        told = session.report()
    except GenieError:
        return Report()
    return Report({outcome.program: outcome for outcome in told.rewrites}, told.restrided)


def sentence(passes: dict[str, int], outcome: Outcome | None) -> str:
    """As in ``append 2: accepted, 0.4 ms in place of 0.7 ms``."""
    made = ", ".join(f"{name} {places}" for name, places in passes.items())
    if outcome is None or outcome.state == "unchecked":
        return f"{made}: not compared yet"
    if outcome.state == "refused":
        return f"{made}: refused, {outcome.reason}"
    after, before = outcome.seconds_after * 1e3, outcome.seconds_before * 1e3
    error = f", off by {outcome.error:.1e}" if outcome.error else ""
    return f"{made}: accepted, {after:.3g} ms in place of {before:.3g} ms{error}"
