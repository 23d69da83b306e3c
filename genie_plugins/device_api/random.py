"""Random state beyond what the core gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_core.device import (
    current_device,
    default_generator,
    device_count,
    get_rng_state,
    set_rng_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

__all__ = ["get_rng_state_all", "initial_seed", "seed", "seed_all", "set_rng_state_all"]


def get_rng_state_all() -> list[torch.Tensor]:
    """The state of every device's generator, as `get_rng_state` gives it."""
    return [get_rng_state(index) for index in range(device_count())]


def set_rng_state_all(states: Iterable[torch.Tensor]) -> None:
    """Put back what `get_rng_state_all` returned."""
    for index, state in enumerate(states):
        set_rng_state(state, index)


def initial_seed() -> int:
    """The seed of the current device's generator."""
    return default_generator(current_device()).initial_seed()


def seed() -> int:
    """Seed the current device's generator from the system's randomness; returns the seed."""
    return default_generator(current_device()).seed()


def seed_all() -> None:
    """Seed every device's generator alike, from the system's randomness."""
    number = seed()
    for index in range(device_count()):
        default_generator(index).manual_seed(number)
