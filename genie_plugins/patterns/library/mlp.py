"""Multi-layer perceptrons. Every activation function, written out or not, is one to the view."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor


def patterns() -> list[Pattern]:
    """MLP and gated MLP."""
    gates: list[Callable[..., T]] = [_gated, _glu, _sigmoid_gated]
    return [
        Pattern("gated_mlp", gates, _gate_examples),
        Pattern("mlp", [_mlp], _examples),
        Pattern("mlp", [_tanh_mlp, _sigmoid_mlp], _examples, _widens),
    ]


def _examples() -> tuple[object, ...]:
    return torch.empty(2, 4), torch.empty(6, 4), torch.empty(4, 6)


def _gate_examples() -> tuple[object, ...]:
    return torch.empty(2, 4), torch.empty(6, 4), torch.empty(6, 4), torch.empty(4, 6)


def _mlp(x: T, weight_in: T, weight_out: T) -> T:
    return F.linear(F.relu(F.linear(x, weight_in)), weight_out)


def _tanh_mlp(x: T, weight_in: T, weight_out: T) -> T:
    return F.linear(torch.tanh(F.linear(x, weight_in)), weight_out)


def _sigmoid_mlp(x: T, weight_in: T, weight_out: T) -> T:
    return F.linear(torch.sigmoid(F.linear(x, weight_in)), weight_out)


def _widens(match: Match) -> bool:
    """Whether the hidden layer has another width than the input: a pooler's has not."""
    hidden, given = (match.inputs[name].meta["geometry"].size for name in ("weight_in", "x"))
    return bool(given and hidden) and set(hidden) != {given[-1]}


def _gated(x: T, weight_gate: T, weight_up: T, weight_out: T) -> T:
    return F.linear(F.silu(F.linear(x, weight_gate)) * F.linear(x, weight_up), weight_out)


def _glu(x: T, weight_gate: T, _: T, weight_out: T) -> T:
    return F.linear(F.glu(F.linear(x, weight_gate)), weight_out[:, :3])


def _sigmoid_gated(x: T, weight_gate: T, weight_up: T, weight_out: T) -> T:
    return F.linear(torch.sigmoid(F.linear(x, weight_gate)) * F.linear(x, weight_up), weight_out)
