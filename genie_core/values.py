"""The frozen values that cross hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch
    import torch.fx
    from torch._ops import OpOverload


@attrs.frozen
class TensorSpec:
    """Metadata of one output of an op: what the user sees before any value exists.

    `stride` and `offset` count elements. `alias` is the index, among the call's tensors counted
    flat (args, then kwargs), of the one whose storage the output shares; -1 is a new storage.
    """

    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0
    alias: int = -1


@attrs.frozen(eq=False)
class FallbackCall:
    """A call that the executor cannot run, with the user's own tensors.

    `reason` says why (the executor lacks the op…), `where` names the module and the user's line.
    """

    op: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    device: str
    reason: str
    where: str


@attrs.frozen
class Stats:
    """What one device has done since the start, or since the last `reset_stats`.

    `flushes` counts by reason. `program_hits` are flushes whose program the executor knew.
    `host_reads` were answered from host-known values, without a round trip. Bytes are as sent,
    framing included.
    """

    ops: int = 0
    flushes: dict[str, int] = attrs.field(factory=dict)
    programs_built: int = 0
    program_hits: int = 0
    round_trips: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    signature_hits: int = 0
    signature_misses: int = 0
    host_reads: int = 0


@attrs.frozen(eq=False)
class Pattern:
    """A template that is looked for in graphs; its `name` is also its family.

    `spellings` are plain PyTorch functions of tensors and numbers that compute the same; they are
    traced with what `examples()` returns: tensors, and numbers that stand for any number.
    """

    name: str
    spellings: Sequence[Callable[..., Any]]
    examples: Callable[[], Sequence[Any]]
    guard: Callable[[Match], bool] | None = None
    """Whether a match is one: of sizes, dtypes, numbers."""
    role: str = ""
    confidence: float = 1.0
    replacement: Callable[..., Any] | None = None
    """Gives the same outputs for the same parameters; None: matches are not rewritten."""
    tolerance: float = 0.0
    """Largest relative error of the replacement; 0: the same bits."""


@attrs.define(eq=False)
class Match:
    """Where a pattern is in a graph."""

    pattern: Pattern
    nodes: tuple[torch.fx.Node, ...]
    """Recorded ops, in their order."""
    inputs: dict[str, torch.fx.Node] = attrs.Factory(dict)
    """What feeds each parameter, as the pattern sees it: nodes with `meta["geometry"]`."""
    outputs: tuple[torch.fx.Node, ...] = ()
    literals: dict[str, Any] = attrs.Factory(dict)
    """Numbers by parameter, and facts that the pattern found."""
    parts: tuple[Match, ...] = ()
    writes: tuple[str, ...] = ()
    """The inputs that its ops, or those of its replacement, may write to."""
