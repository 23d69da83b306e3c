"""Optimizers by hand, one parameter after another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch


class _ByHand(torch.optim.Optimizer):
    """What they share: a learning rate, and the parameters that have a gradient."""

    def __init__(self, parameters: list[torch.nn.Parameter], lr: float = 0.01) -> None:
        super().__init__(parameters, {"lr": lr})

    def _each(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, float, dict[str, Any]]]:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    yield parameter, parameter.grad, group["lr"], self.state[parameter]


class PlainSgd(_ByHand):
    """`p -= lr * g`, as books have it."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters."""
        for parameter, gradient, lr, _ in self._each():
            parameter.sub_(lr * gradient)


class MomentumSgd(_ByHand):
    """A velocity that keeps nine tenths of itself."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters."""
        for parameter, gradient, lr, state in self._each():
            if "velocity" not in state:
                state["velocity"] = torch.zeros_like(parameter)
            state["velocity"] = 0.9 * state["velocity"] + gradient
            parameter.data = parameter.data - lr * state["velocity"]


class _Moments(_ByHand):
    """Two moments of the gradients, without their bias."""

    def _moments(
        self, parameter: torch.Tensor, gradient: torch.Tensor, state: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not state:
            state.update(t=0, m=torch.zeros_like(parameter), v=torch.zeros_like(parameter))
        state["t"] += 1
        state["m"] = 0.9 * state["m"] + (1 - 0.9) * gradient
        state["v"] = 0.999 * state["v"] + (1 - 0.999) * gradient**2
        return state["m"] / (1 - 0.9 ** state["t"]), state["v"] / (1 - 0.999 ** state["t"])


class PaperAdam(_Moments):
    """Adam as in its paper."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters."""
        for parameter, gradient, lr, state in self._each():
            first, second = self._moments(parameter, gradient, state)
            parameter.sub_(lr * first / (second.sqrt() + 1e-8))


class PaperAdamW(_Moments):
    """AdamW as in its paper: the weight's own decay is no part of the moments."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters."""
        for parameter, gradient, lr, state in self._each():
            first, second = self._moments(parameter, gradient, state)
            parameter.sub_(lr * (first / (second.sqrt() + 1e-8) + 0.1 * parameter))


class InPlaceAdam(_ByHand):
    """Adam in place, the corrections in the step's size, as older code has it."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters."""
        for parameter, gradient, lr, state in self._each():
            if not state:
                state.update(t=0, m=torch.zeros_like(parameter), v=torch.zeros_like(parameter))
            state["t"] += 1
            state["m"].mul_(0.9).add_(gradient, alpha=1 - 0.9)
            state["v"].mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
            size = lr * (1 - 0.999 ** state["t"]) ** 0.5 / (1 - 0.9 ** state["t"])
            parameter.addcdiv_(state["m"], state["v"].sqrt().add_(1e-8), value=-size)


class InPlaceAdamW(_ByHand):
    """The first AdamW of transformers: Adam in place, then the decay."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all parameters."""
        for parameter, gradient, lr, state in self._each():
            if not state:
                state.update(t=0, m=torch.zeros_like(parameter), v=torch.zeros_like(parameter))
            state["t"] += 1
            state["m"].mul_(0.9).add_(gradient, alpha=1 - 0.9)
            state["v"].mul_(0.999).addcmul_(gradient, gradient, value=1 - 0.999)
            size = lr * (1 - 0.999 ** state["t"]) ** 0.5 / (1 - 0.9 ** state["t"])
            parameter.addcdiv_(state["m"], state["v"].sqrt().add_(1e-6), value=-size)
            parameter.add_(parameter, alpha=-lr * 0.01)
