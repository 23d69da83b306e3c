"""Cells of recurrent nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor


def patterns() -> list[Pattern]:
    """LSTM, GRU and vanilla cells."""
    return [
        Pattern("lstm_cell", [_lstm(_sum), _lstm(_both), _lstm_split], _lstm_examples),
        Pattern("gru_cell", [*_grus(_blend), *_grus(_mix), *_grus(_mix_back)], _gru_examples),
        Pattern("rnn_cell", [_rnn, _rnn_relu], _rnn_examples, _is_recurrent),
    ]


def _sum(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
    return F.linear(x, weight_in) + F.linear(h, weight_hidden)


def _both(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
    return F.linear(torch.cat([x, h], -1), torch.cat([weight_in, weight_hidden], -1))


# LSTM ----------------------------------------------------------------------------------------


def _lstm_examples() -> tuple[object, ...]:
    return (
        torch.empty(2, 3),
        torch.empty(2, 4),
        torch.empty(2, 4),
        torch.empty(16, 3),
        torch.empty(16, 4),
    )


def _lstm(gates: Callable[..., T]) -> Callable[..., tuple[T, T]]:
    def cell(x: T, h: T, c: T, weight_in: T, weight_hidden: T) -> tuple[T, T]:
        return _lstm_step(c, *gates(x, h, weight_in, weight_hidden).chunk(4, -1))

    return cell


def _lstm_step(c: T, i: T, f: T, g: T, o: T) -> tuple[T, T]:
    new = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(new), new


def _lstm_split(x: T, h: T, c: T, weight_in: T, weight_hidden: T) -> tuple[T, T]:
    pairs = zip(weight_in.chunk(4), weight_hidden.chunk(4), strict=True)
    return _lstm_step(c, *[F.linear(x, a) + F.linear(h, b) for a, b in pairs])


# GRU -----------------------------------------------------------------------------------------


def _gru_examples() -> tuple[object, ...]:
    return torch.empty(2, 3), torch.empty(2, 4), torch.empty(12, 3), torch.empty(12, 4)


def _blend(h: T, z: T, n: T) -> T:
    return (h - n) * z + n


def _mix(h: T, z: T, n: T) -> T:
    return (1 - z) * n + z * h


def _mix_back(h: T, z: T, n: T) -> T:
    return (1 - z) * h + z * n


def _grus(mix: Callable[[T, T, T], T]) -> list[Callable[..., T]]:
    def chunked(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
        ri, zi, ni = F.linear(x, weight_in).chunk(3, -1)
        rh, zh, nh = F.linear(h, weight_hidden).chunk(3, -1)
        r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
        return mix(h, z, torch.tanh(ni + r * nh))

    def split(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
        a, b = weight_in.chunk(3), weight_hidden.chunk(3)
        r = torch.sigmoid(F.linear(x, a[0]) + F.linear(h, b[0]))
        z = torch.sigmoid(F.linear(x, a[1]) + F.linear(h, b[1]))
        return mix(h, z, torch.tanh(F.linear(x, a[2]) + r * F.linear(h, b[2])))

    def inner(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
        a, b = weight_in.chunk(3), weight_hidden.chunk(3)
        r = torch.sigmoid(F.linear(x, a[0]) + F.linear(h, b[0]))
        z = torch.sigmoid(F.linear(x, a[1]) + F.linear(h, b[1]))
        return mix(h, z, torch.tanh(F.linear(x, a[2]) + F.linear(r * h, b[2])))

    def joined(x: T, h: T, weight_in: T, weight_hidden: T) -> T:
        whole = torch.cat([weight_in, weight_hidden], -1).chunk(3)
        both = torch.cat([x, h], -1)
        r, z = torch.sigmoid(F.linear(both, whole[0])), torch.sigmoid(F.linear(both, whole[1]))
        return mix(h, z, torch.tanh(F.linear(torch.cat([x, r * h], -1), whole[2])))

    return [chunked, split, inner, joined]


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
