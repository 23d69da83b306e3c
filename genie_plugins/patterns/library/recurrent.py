"""Cells of recurrent nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor
Mix = Callable[[T, T, T], T]


def patterns() -> list[Pattern]:
    """LSTM, GRU and vanilla cells."""
    return [
        Pattern("lstm_cell", [_lstm(_sum)], _lstm_examples),
        Pattern("lstm_cell", [_split_lstm], _split_lstm_examples),
        Pattern("lstm_cell", [_joined_lstm], _joined_lstm_examples),
        Pattern("gru_cell", [*map(_outer_gru, _MIXES), *map(_inner_gru, _MIXES)], _gru_examples),
        Pattern("gru_cell", [*map(_joined_gru, _MIXES)], _joined_gru_examples),
        Pattern("rnn_cell", [_rnn, _rnn_relu], _rnn_examples, _is_recurrent),
    ]


def _sum(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
    return F.linear(x, weight_in) + F.linear(h, weight_hidden)


# LSTM ----------------------------------------------------------------------------------------


def _lstm_examples() -> tuple[object, ...]:
    states = (torch.empty(2, 3), torch.empty(2, 4), torch.empty(2, 4))
    return *states, torch.empty(16, 3), torch.empty(16, 4)


def _split_lstm_examples() -> tuple[object, ...]:
    inputs = [torch.empty(4, 3) for _ in range(4)]
    return *_lstm_examples()[:3], *inputs, *(torch.empty(4, 4) for _ in range(4))


def _joined_lstm_examples() -> tuple[object, ...]:
    return *_lstm_examples()[:3], *(torch.empty(4, 7) for _ in range(4))


def _lstm(gates: Callable[..., T]) -> Callable[..., tuple[T, T]]:
    def cell(x: T, h: T, c: T, weight_in: T, weight_hidden: T) -> tuple[T, T]:
        return _lstm_step(c, *gates(x, h, weight_in, weight_hidden).chunk(4, -1))

    return cell


def _lstm_step(c: T, i: T, f: T, g: T, o: T) -> tuple[T, T]:
    new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(new), new


def _split_lstm(
    x: T, h: T, c: T,
    weight_0: T, weight_1: T, weight_2: T, weight_3: T,
    weight_4: T, weight_5: T, weight_6: T, weight_7: T,
) -> tuple[T, T]:  # fmt: skip
    pairs = ((weight_0, weight_4), (weight_1, weight_5), (weight_2, weight_6), (weight_3, weight_7))
    return _lstm_step(c, *[F.linear(x, a) + F.linear(h, b) for a, b in pairs])


def _joined_lstm(
    x: T, h: T, c: T, weight_0: T, weight_1: T, weight_2: T, weight_3: T
) -> tuple[T, T]:
    both = torch.cat([x, h], -1)
    weights = (weight_0, weight_1, weight_2, weight_3)
    return _lstm_step(c, *[F.linear(both, weight) for weight in weights])


# GRU -----------------------------------------------------------------------------------------


def _gru_examples() -> tuple[object, ...]:
    inputs = [torch.empty(4, 3) for _ in range(3)]
    return torch.empty(2, 3), torch.empty(2, 4), *inputs, *(torch.empty(4, 4) for _ in range(3))


def _joined_gru_examples() -> tuple[object, ...]:
    return torch.empty(2, 3), torch.empty(2, 4), *(torch.empty(4, 7) for _ in range(3))


def _blend(h: T, z: T, n: T) -> T:
    return (h - n) * z + n


def _mix(h: T, z: T, n: T) -> T:
    return (1 - z) * n + z * h


def _mix_back(h: T, z: T, n: T) -> T:
    return (1 - z) * h + z * n


_MIXES = (_blend, _mix, _mix_back)


def _outer_gru(mix: Mix) -> Callable[..., T]:
    """The gate is behind the product, as cuDNN has it. Products of all gates may be one."""

    def cell(
        x: T, h: T, weight_0: T, weight_1: T, weight_2: T, weight_3: T, weight_4: T, weight_5: T
    ) -> T:
        r = torch.sigmoid(F.linear(x, weight_0) + F.linear(h, weight_3))
        z = torch.sigmoid(F.linear(x, weight_1) + F.linear(h, weight_4))
        return mix(h, z, torch.tanh(F.linear(x, weight_2) + r * F.linear(h, weight_5)))

    return cell


def _inner_gru(mix: Mix) -> Callable[..., T]:
    """The gate is before the product, as in its paper."""

    def cell(
        x: T, h: T, weight_0: T, weight_1: T, weight_2: T, weight_3: T, weight_4: T, weight_5: T
    ) -> T:
        r = torch.sigmoid(F.linear(x, weight_0) + F.linear(h, weight_3))
        z = torch.sigmoid(F.linear(x, weight_1) + F.linear(h, weight_4))
        return mix(h, z, torch.tanh(F.linear(x, weight_2) + F.linear(r * h, weight_5)))

    return cell


def _joined_gru(mix: Mix) -> Callable[..., T]:
    def cell(x: T, h: T, weight_0: T, weight_1: T, weight_2: T) -> T:
        both = torch.cat([x, h], -1)
        r, z = torch.sigmoid(F.linear(both, weight_0)), torch.sigmoid(F.linear(both, weight_1))
        return mix(h, z, torch.tanh(F.linear(torch.cat([x, r * h], -1), weight_2)))

    return cell


# Vanilla -------------------------------------------------------------------------------------


def _rnn_examples() -> tuple[object, ...]:
    return torch.empty(2, 3), torch.empty(2, 4), torch.empty(4, 3), torch.empty(4, 4)


def _rnn(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
    return torch.tanh(_sum(x, h, weight_in, weight_hidden))


def _rnn_relu(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
    return F.relu(_sum(x, h, weight_in, weight_hidden))


def _is_recurrent(match: Match) -> bool:
    """Whether a state of the cell's own width comes in."""
    sizes: list[Any] = [
        match.inputs[name].meta["geometry"].size for name in ("weight_hidden", "weight_in")
    ]
    return any(len(size) == 2 and size[0] == size[1] for size in sizes)
