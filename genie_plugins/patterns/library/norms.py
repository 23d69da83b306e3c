"""Layer norm and RMS norm."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor
Spelling = Callable[..., T]

_ROOT = 0.0321


def patterns() -> list[Pattern]:
    """The norms."""
    layer = [_centered, _twice_centered, _variance, _joint, _deviation, _moments]
    rms = [_mean_square, _sum_of_squares, _root_plus, _clamped]
    rms += [_normalized, _by_length, _by_length_plus]
    affine = [_affine, _scaled, _scaled_from_one]
    fused = [_rms_norm] if hasattr(F, "rms_norm") else []  # torch 2.4
    return [
        Pattern(
            "layer_norm",
            [_layer_norm, *(form(one) for form in affine for one in layer), *layer],
            _layer,
            _over_features,
        ),
        Pattern(
            "rms_norm",
            [*fused, *map(_scaled, rms), *map(_scaled_from_one, rms), *rms],
            _rms,
            _over_features,
        ),
    ]


def _layer() -> tuple[object, ...]:
    return torch.empty(2, 3, 4), 0.0123, torch.empty(4), torch.empty(4)


def _rms() -> tuple[object, ...]:
    return torch.empty(2, 3, 4), 0.0123, torch.empty(4), _ROOT


_MEANS = ("aten::mean", "aten::var", "aten::std", "aten::sum")


def _over_features(match: Match) -> bool:
    """Whether means are taken over the features, each by itself; lengths are as if they were."""
    for node in match.nodes:
        if node.meta["op"].startswith(_MEANS):
            size = node.meta["outputs"][0][2].size
            rank = len(node.args[0].meta["geometry"].size)  # type: ignore[union-attr]
            dims = node.args[1] if len(node.args) > 1 else None
            images = ([1], [-3]) if rank == 4 else ()
            if len(size) != rank or dims not in ([-1], [rank - 1], *images):
                return False
    return _is_root(match)


def _is_root(match: Match) -> bool:
    """Whether a number that makes unit vectors longer is the root of how many features there are.

    Other numbers are temperatures.
    """
    if not any(node.meta["op"].startswith("aten::linalg_vector_norm") for node in match.nodes):
        return True
    size = match.inputs["x"].meta["geometry"].size
    width = size[-1] if size and isinstance(size[-1], int) else 0
    numbers = [n for n in match.literals.values() if isinstance(n, float | int) and n > 0]
    return any(abs(n * n / width - 1) < _NEAR or abs(n * n * width - 1) < _NEAR for n in numbers)


_NEAR = 0.02


# Layer norm ----------------------------------------------------------------------------------


def _layer_norm(x: T, eps: float, weight: T, bias: T) -> T:
    return F.layer_norm(x, (4,), weight, bias, eps)


def _centered(x: T, eps: float) -> T:
    centered = x - x.mean(-1, keepdim=True)
    return centered * torch.rsqrt(centered.pow(2).mean(-1, keepdim=True) + eps)


def _twice_centered(x: T, eps: float) -> T:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt((x - mean).pow(2).mean(-1, keepdim=True) + eps)


def _variance(x: T, eps: float) -> T:
    variance = x.var(-1, keepdim=True, unbiased=False)
    return (x - x.mean(-1, keepdim=True)) * torch.rsqrt(variance + eps)


def _joint(x: T, eps: float) -> T:
    variance, mean = torch.var_mean(x, -1, keepdim=True, correction=0)
    return (x - mean) * torch.rsqrt(variance + eps)


def _moments(x: T, eps: float) -> T:
    mean = x.mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt(x.square().mean(-1, keepdim=True) - mean.square() + eps)


def _deviation(x: T, eps: float) -> T:
    return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + eps)


def _affine(form: Spelling) -> Spelling:
    return lambda x, eps, weight, bias: form(x, eps) * weight + bias


# RMS norm ------------------------------------------------------------------------------------


def _rms_norm(x: T, eps: float, weight: T) -> T:
    return F.rms_norm(x, (4,), weight, eps)  # type: ignore[attr-defined, unused-ignore] # torch 2.4


def _mean_square(x: T, eps: float) -> T:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def _sum_of_squares(x: T, eps: float) -> T:
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) * _ROOT + eps)


def _root_plus(x: T, eps: float) -> T:
    return x / (x.pow(2).mean(-1, keepdim=True).sqrt() + eps)


def _clamped(x: T, eps: float) -> T:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True).clamp(min=eps))


def _normalized(x: T, eps: float) -> T:
    return F.normalize(x, dim=-1, eps=eps) * _ROOT


def _by_length(x: T, eps: float) -> T:
    return x / (_length(x) * eps)


def _by_length_plus(x: T, eps: float) -> T:
    return x / (_length(x) * _ROOT + eps)


def _length(x: T) -> T:
    length: T = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return length


def _scaled(form: Spelling) -> Spelling:
    return lambda x, eps, weight: form(x, eps) * weight


def _scaled_from_one(form: Spelling) -> Spelling:
    return lambda x, eps, weight: form(x, eps) * (1.0 + weight)
