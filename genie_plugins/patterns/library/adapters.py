"""Linear maps that are more than one product: low-rank adapters, quantized weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.fx
import torch.nn.functional as F  # noqa: N812 (as everybody calls it)

from genie_core import Match, Pattern

T = torch.Tensor
Spelling = Callable[..., T]


def patterns() -> list[Pattern]:
    """LoRA and quantized linear maps."""
    quantized: list[Spelling] = [_dequantized, _shifted, _scaled_after]
    lora: list[Spelling] = [_lora, _lora_scaled_inside, _lora_scaled_before, _lora_unscaled]
    lora += [_lora_in_weight, _lora_in_weight_unscaled]
    return [
        Pattern("lora", lora, _ranks, _is_low),
        Pattern("quantized_linear", quantized, _integers, _has_integers),
    ]


def _ranks() -> tuple[object, ...]:
    return torch.empty(3, 4), torch.empty(5, 4), torch.empty(2, 4), torch.empty(5, 2), 0.0123


def _lora(x: T, weight: T, weight_a: T, weight_b: T, scale: float) -> T:
    return F.linear(x, weight) + F.linear(F.linear(x, weight_a), weight_b) * scale


def _lora_scaled_inside(x: T, weight: T, weight_a: T, weight_b: T, scale: float) -> T:
    return F.linear(x, weight) + F.linear(F.linear(x, weight_a) * scale, weight_b)


def _lora_scaled_before(x: T, weight: T, weight_a: T, weight_b: T, scale: float) -> T:
    return F.linear(x, weight) + F.linear(F.linear(x * scale, weight_a), weight_b)


def _lora_unscaled(x: T, weight: T, weight_a: T, weight_b: T) -> T:
    return F.linear(x, weight) + F.linear(F.linear(x, weight_a), weight_b)


def _lora_in_weight(x: T, weight: T, weight_a: T, weight_b: T, scale: float) -> T:
    return F.linear(x, weight + (weight_b @ weight_a) * scale)


def _lora_in_weight_unscaled(x: T, weight: T, weight_a: T, weight_b: T) -> T:
    return F.linear(x, weight + weight_b @ weight_a)


def _is_low(match: Match) -> bool:
    whole, low = (match.inputs[name].meta["geometry"].size for name in ("weight", "weight_a"))
    return all(isinstance(size, int) for size in (*whole, *low)) and min(low) < min(whole)


def _integers() -> tuple[object, ...]:
    return torch.empty(3, 4), torch.ones(5, 4, dtype=torch.int8), torch.empty(5, 1), 3.0


def _dequantized(x: T, weight: T, weight_scale: T) -> T:
    return F.linear(x, weight.to(x.dtype) * weight_scale)


def _shifted(x: T, weight: T, weight_scale: T, zero: float) -> T:
    return F.linear(x, (weight.to(x.dtype) - zero) * weight_scale)


def _scaled_after(x: T, weight: T, weight_scale: T) -> T:
    return F.linear(x, weight.to(x.dtype)) * weight_scale[:, 0]


def _has_integers(match: Match) -> bool:
    """Whether a weight of integers is cast on the way."""
    sources = [node.args[-2] for node in match.nodes if node.meta["op"] == "aten::copy_"]
    sources += [node.args[0] for node in match.nodes if "_to_copy" in node.meta["op"]]
    geometries = [n.meta["geometry"] for n in sources if isinstance(n, torch.fx.Node)]
    return any(len(g.size) > 1 and is_packed(g.dtype) for g in geometries)


def is_packed(dtype: torch.dtype) -> bool:
    """Whether numbers of this type are scaled before they are computed with."""
    return dtype is not torch.bool and (not dtype.is_floating_point or dtype.itemsize == 1)
