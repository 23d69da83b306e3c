"""Generators, their seeds and states, beyond the `manual_seed_all` that torch itself calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_core import _native
from genie_core.device import current_device, device_count, index_of, manual_seed_all

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch

    from genie_core.device import Device

__all__ = [
    "default_generator",
    "get_rng_state",
    "get_rng_state_all",
    "initial_seed",
    "manual_seed",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
]


def default_generator(index: int) -> torch.Generator:
    """The generator that a device's random ops use when they are given none."""
    return _native.default_generator(index)


def get_rng_state(device: Device = None) -> torch.Tensor:
    """State of a device's generator, as the executor's kind of generator stores it (uint8)."""
    return default_generator(index_of(device)).get_state()


def set_rng_state(state: torch.Tensor, device: Device = None) -> None:
    """Put back a state that `get_rng_state` returned."""
    default_generator(index_of(device)).set_state(state)


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


def manual_seed(seed: int) -> None:
    """Seed the current device's generator."""
    default_generator(current_device()).manual_seed(int(seed))


def seed() -> int:
    """Seed the current device's generator from the system's randomness; returns the seed."""
    return default_generator(current_device()).seed()


def seed_all() -> None:
    """Seed every device's generator alike, from the system's randomness."""
    manual_seed_all(seed())
