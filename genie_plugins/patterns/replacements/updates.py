"""Updates of parameters, gathered for one call of a fused kernel."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import torch
import torch.fx

from genie_core import Match, Pattern
from genie_plugins.patterns.replacements.recorded import kept_slots, made, number
from genie_plugins.patterns.replacements.singles import Single, Singles

Node = torch.fx.Node


@attrs.frozen(eq=False)
class Update:
    """Of one parameter."""

    tensors: dict[str, Node]
    """What the kernel takes lists of: parameters, gradients and state, by name."""
    told: dict[str, Any]
    """What it is told besides; nodes are lifted numbers."""
    ops: tuple[Single, ...]

    @property
    def group(self) -> tuple[Any, ...]:
        """What the updates of one call have in common."""
        dtype = self.tensors["params"].meta["geometry"].dtype
        return (dtype, tuple(self.tensors), tuple(self.told.items()))


Reading = Callable[[Singles, Single], "Update | None"]


def grouped(match: Match, pattern: Pattern, last: str, read: Reading) -> Iterator[Match]:
    """A match for each group of updates; `read` reads one back from its `last` op."""
    ops = Singles(match.nodes)
    groups = defaultdict(list)
    lasting = kept_slots(match.nodes[0].graph)
    for update in (read(ops, one) for one in ops.named(last)):
        if update is not None and _is_fit(update, lasting):
            groups[update.group].append(update)
    for updates in groups.values():
        nodes = ops.whole(op for update in updates for op in update.ops)
        if nodes is not None:
            yield _match(pattern, updates, nodes)


def _is_fit(update: Update, lasting: set[int]) -> bool:
    """Whether a kernel can do it, and what it computes on its way is not kept.

    A loop's last results are, where a long trace was sent in the middle of the loop.
    """
    return lasting.isdisjoint(made(op.node for op in update.ops)) and lie_alike(
        update.tensors.values()
    )


def _match(pattern: Pattern, updates: list[Update], nodes: tuple[Node, ...]) -> Match:
    inputs: dict[str, Any] = {
        name: [update.tensors[name] for update in updates] for name in updates[0].tensors
    }
    literals: dict[str, Any] = {}
    writes = tuple(inputs)
    for name, told in updates[0].told.items():
        (inputs if isinstance(told, Node) else literals)[name] = told
    return Match(pattern, nodes, inputs, (), literals, writes=writes)


def gradient(ops: Singles, grad: Any, param: Any) -> tuple[Any, float, list[Single]]:
    """The gradient before weight decay, how much that is, and the op that adds it."""
    made = ops.writing(grad)
    if [one.name for one in made] == ["add"] and made[0].args[1] is param:
        decay = number(made[0].args[2])
        if decay is not None:
            return made[0].args[0], float(decay), made
    return grad, 0.0, []


def lie_alike(tensors: Iterable[Node]) -> bool:
    """Whether tensors are of one precise dtype, and lie without gaps in the same order.

    Fused kernels go over the memory of all of them together.
    """
    kinds = {(g.dtype, g.size, g.stride) for g in (t.meta["geometry"] for t in tensors)}
    if len(kinds) != 1:
        return False
    dtype, size, stride = kinds.pop()
    return dtype in (torch.float32, torch.float64) and _is_dense(size, stride)


def _is_dense(size: tuple[Any, ...], stride: tuple[Any, ...]) -> bool:
    if not all(isinstance(n, int) for n in (*size, *stride)):
        return False
    expected = 1
    for own, n in sorted(zip(stride, size, strict=True)):
        if n != 1 and own != expected:
            return False
        expected *= n
    return True
