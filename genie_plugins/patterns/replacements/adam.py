"""Adam's and AdamW's updates, for tensors one by one or as lists, as PyTorch's fused kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx

from genie_core import Match, Pattern, compat
from genie_plugins.patterns.replacements.recorded import number
from genie_plugins.patterns.replacements.singles import Single, Singles, varying
from genie_plugins.patterns.replacements.updates import Update, gradient, grouped

T = torch.Tensor


def _fused(
    params: list[T],
    grads: list[T],
    means: list[T],
    squares: list[T],
    root: T | float,
    size: T | float,
    numbers: tuple[float, float, float, float],
    *,
    decay: T | float | None = None,
    maxima: list[T] | None = None,
) -> None:
    """`root` is √(1 - beta2^step) and `size` is -lr / (1 - beta1^step), as a step has them.

    The kernel takes the step and the learning rate, which follow from them. `numbers` are beta1,
    beta2, eps, and the weight decay of gradients. `decay` is a factor of the parameters, as AdamW
    has it: its kernel takes no learning rate that varies together with the weight decay.
    """
    beta1, beta2, eps, weight_decay = numbers
    if decay is not None:
        torch._foreach_mul_(params, decay)
    if not isinstance(root, T):
        root = torch.full((), root, dtype=torch.float64)
    step = torch.log(1 - root * root) / math.log(beta2)
    lr = size * (torch.exp(step * math.log(beta1)) - 1) if beta1 else -size
    one = torch.ones((), dtype=torch.float32, device=params[0].device)
    steps = [(one * step).to(torch.float32)] * len(params)
    torch._fused_adam_(
        params,
        grads,
        means,
        squares,
        maxima or [],
        steps,
        lr=lr,
        beta1=beta1,
        beta2=beta2,
        weight_decay=weight_decay,
        eps=eps,
        amsgrad=maxima is not None,
        maximize=False,
    )


_HERE = compat.has_kernel("aten::_fused_adam_.tensor_lr", "CPU")
_PATTERNS = {
    name: Pattern(name, (), tuple, replacement=_fused if _HERE else None, tolerance=1e-5)
    for name in ("adam", "adamw")
}
PATTERNS = tuple(_PATTERNS.values())


def read(match: Match) -> Iterator[Match]:
    """A match for each group of parameters with the same numbers."""
    return grouped(match, _PATTERNS[match.pattern.name], "addcdiv_", _update)


def _update(ops: Singles, last: Single) -> Update | None:
    """The update that ends with `last`, read back from there."""
    param, mean, denominator, size = last.args
    decays = [one for one in ops.writing(param) if one is not last]
    chain = _denominator(ops, denominator)
    moments = _moments(ops, mean, chain[0].args[0]) if chain else None
    if not chain or not moments or [one.name for one in decays] not in ([], ["mul_"]):
        return None
    lerp, grow, square, *maximum = moments
    grad, weight_decay, before = gradient(ops, lerp.args[1], param)
    told = _told(moments, chain, size, weight_decay, decays)
    every = (*decays, *before, *moments, *chain, last)
    is_square = square.args[1] is square.args[2] is lerp.args[1]
    if not is_square or told is None or not ops.in_order(every):
        return None
    tensors = {"params": param, "grads": grad, "means": mean, "squares": grow.args[0]}
    if maximum:
        tensors["maxima"] = maximum[0].args[0]
    return Update(tensors, told, every)


def _denominator(ops: Singles, tensor: Any) -> list[Single] | None:
    """√moment / root + eps, as its three ops."""
    chain = ops.writing(tensor)
    if [one.name for one in chain] == ["div", "add_"]:
        chain = [*ops.writing(chain[0].args[0]), *chain]
    if [one.name.rstrip("_") for one in chain] != ["sqrt", "div", "add"]:
        return None
    return chain if chain[2].args[2:] in ((), (1,)) else None


def _moments(ops: Singles, mean: Any, rooted: Any) -> list[Single] | None:
    """The ops of both moments, and of the second one's maximum if that is what is rooted."""
    maximum = ops.writing(rooted)
    if [one.name for one in maximum] not in (["maximum_"], ["maximum"]):
        maximum = []
    elif maximum[0].args[0] is not rooted:
        return None
    found = [*ops.writing(mean), *ops.writing(maximum[0].args[1] if maximum else rooted)]
    if [one.name for one in found] != ["lerp_", "mul_", "addcmul_"]:
        return None
    return [*found, *maximum]


def _told(
    moments: list[Single], chain: list[Single], size: Any, decay: float, decays: list[Single]
) -> dict[str, Any] | None:
    """The kernel's numbers; None if others vary than do from step to step.

    A root that is none yet is of a first step, which is not worth a rewrite; 1 is of a late one.
    """
    told = (moments[0].args[2], moments[1].args[1], moments[2].args[3], chain[2].args[1])
    weight, beta2, other, eps = map(number, told)
    if weight is None or beta2 is None or other is None or eps is None:
        return None
    if not (0 < weight <= 1 and 0 < beta2 < 1 and math.isclose(1 - beta2, other)):
        return None
    factors = {"root": chain[1].args[1], "size": size}
    if decays:
        factors["decay"] = decays[0].args[1]
    found: dict[str, Any] = {name: varying(one) or number(one) for name, one in factors.items()}
    if None in found.values() or not (
        isinstance(found["root"], torch.fx.Node) or found["root"] == 1
    ):
        return None
    return found | {"numbers": (1.0 - weight, float(beta2), float(eps), decay)}
