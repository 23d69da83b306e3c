"""Blocks of convolutional nets."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern
from genie_plugins.patterns.walk import numbers

T = torch.Tensor


def patterns() -> list[Pattern]:
    """What convolutions are part of."""
    return [
        Pattern("conv_bn_act", [_conv_bn_act, _conv_bn_sigmoid, _conv_bn_tanh], _normed),
        Pattern("conv_bn_act", [_conv_fixed_act], _fixed, _of_channels),
    ]


def _normed() -> tuple[object, ...]:
    return torch.empty(2, 3, 6, 6), torch.empty(4, 3, 3, 3), *(torch.empty(4) for _ in range(4))


def _conv_bn(x: T, weight: T, scale: T, shift: T, mean: T, var: T) -> T:
    return F.batch_norm(F.conv2d(x, weight), mean, var, scale, shift)


def _conv_bn_act(x: T, weight: T, scale: T, shift: T, mean: T, var: T) -> T:
    return F.relu(_conv_bn(x, weight, scale, shift, mean, var))


def _conv_bn_sigmoid(x: T, weight: T, scale: T, shift: T, mean: T, var: T) -> T:
    return torch.sigmoid(_conv_bn(x, weight, scale, shift, mean, var))


def _conv_bn_tanh(x: T, weight: T, scale: T, shift: T, mean: T, var: T) -> T:
    return torch.tanh(_conv_bn(x, weight, scale, shift, mean, var))


def _fixed() -> tuple[object, ...]:
    return *_normed()[:2], torch.empty(4, 1, 1), torch.empty(4, 1, 1)


def _conv_fixed_act(x: T, weight: T, weight_scale: T, bias_shift: T) -> T:
    """A batch norm with fixed statistics, written out."""
    return F.relu(F.conv2d(x, weight) * weight_scale + bias_shift)


def _of_channels(match: Match) -> bool:
    """Whether what scales and what shifts is one number for each channel."""
    names = ("weight", "weight_scale", "bias_shift")
    if any(name not in match.inputs for name in names):
        return False
    weight, *own = (numbers(match.inputs[name].meta["geometry"].size) for name in names)
    return all(math.prod(size) == weight[0] > 1 and size[-1] == 1 for size in own)
