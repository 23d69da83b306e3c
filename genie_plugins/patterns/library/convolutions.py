"""Blocks of convolutional nets."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern
from genie_plugins.patterns.walk import numbers

T = torch.Tensor


def patterns() -> list[Pattern]:
    """What convolutions are part of."""
    return [
        Pattern("conv_bn_act", [_conv_bn_act, _conv_bn_sigmoid, _conv_bn_tanh], _normed),
        Pattern(
            "depthwise_separable",
            [_separable, _separable_act, _separable_bn, _separable_bn_act],
            _two,
            _depthwise,
        ),
        Pattern("squeeze_excite", [_squeeze, _squeeze_hard, _squeeze_linear], _squeezed, _channels),
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


def _two() -> tuple[object, ...]:
    return torch.empty(2, 3, 6, 6), torch.empty(3, 1, 3, 3), torch.empty(4, 3, 1, 1)


def _separable(x: T, weight_depth: T, weight_point: T) -> T:
    return F.conv2d(F.conv2d(x, weight_depth, groups=3), weight_point)


def _separable_act(x: T, weight_depth: T, weight_point: T) -> T:
    return F.conv2d(F.relu(F.conv2d(x, weight_depth, groups=3)), weight_point)


def _bn(x: T) -> T:
    channels = x.new_ones(3)
    return F.batch_norm(x, channels, channels, channels, channels)


def _separable_bn(x: T, weight_depth: T, weight_point: T) -> T:
    return F.conv2d(_bn(F.conv2d(x, weight_depth, groups=3)), weight_point)


def _separable_bn_act(x: T, weight_depth: T, weight_point: T) -> T:
    return F.conv2d(F.relu(_bn(F.conv2d(x, weight_depth, groups=3))), weight_point)


def _depthwise(match: Match) -> bool:
    """A filter for each channel, then one for each point."""
    depth, point = (
        numbers(match.inputs[name].meta["geometry"].size)
        for name in ("weight_depth", "weight_point")
    )
    return (
        len(depth) == len(point)
        and depth[1] == 1
        and depth[0] != 1
        and any(size != 1 for size in depth[2:])
        and all(size == 1 for size in point[2:])
    )


def _squeezed() -> tuple[object, ...]:
    return torch.empty(2, 4, 6, 6), torch.empty(2, 4, 1, 1), torch.empty(4, 2, 1, 1)


def _squeeze(x: T, weight_down: T, weight_up: T) -> T:
    hidden = F.relu(F.conv2d(F.adaptive_avg_pool2d(x, 1), weight_down))
    return x * torch.sigmoid(F.conv2d(hidden, weight_up))


def _squeeze_hard(x: T, weight_down: T, weight_up: T) -> T:
    hidden = F.relu(F.conv2d(F.adaptive_avg_pool2d(x, 1), weight_down))
    return x * F.hardsigmoid(F.conv2d(hidden, weight_up))


def _squeeze_linear(x: T, weight_down: T, weight_up: T) -> T:
    hidden = F.relu(F.linear(x.mean((2, 3)), weight_down[..., 0, 0]))
    return x * torch.sigmoid(F.linear(hidden, weight_up[..., 0, 0]))[..., None, None]


def _channels(match: Match) -> bool:
    return len(match.inputs["x"].meta["geometry"].size) >= 3
