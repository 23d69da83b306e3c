"""MLPs of more than two layers: what templates find by two and two is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_plugins.patterns.found import Found, detected

if TYPE_CHECKING:
    from genie_plugins.patterns.step import Step


def joined(ones: list[Found]) -> list[Found]:
    """The MLPs of which one goes on from another's last layer, each chain as one."""
    chains: list[list[Found]] = []
    for one in ones:
        for chain in chains:
            if any(step in chain[-1].outputs for step in one.steps):
                chain.append(one)
                break
        else:
            chains.append([one])
    return [_one(chain) for chain in chains]


def _one(chain: list[Found]) -> Found:
    last = _last_activation(chain)
    if len(chain) == 1 and last is None:
        return chain[0]
    whole = detected("mlp", () if last is None else (last,), parts=chain)
    whole.inputs.update(x=chain[0].inputs["x"])
    whole.parts = ()
    return whole


def _last_activation(chain: list[Found]) -> Step | None:
    """The activation behind the last layer, if there is one as between the layers."""
    end = chain[-1].end
    if len(end.users) != 1 or end.users[0].name != "act" or end.users[0].operands[0] is not end:
        return None
    return end.users[0]
