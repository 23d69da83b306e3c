"""Random programs do on the device what they do on the CPU, to the bit, step by step.

GENIE_PROPERTY_PROGRAMS is how many, GENIE_PROPERTY_SEED chooses others.
"""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from property import lockstep
from property.programs import Program, programs

if TYPE_CHECKING:
    import torch

PROGRAMS = int(os.environ.get("GENIE_PROPERTY_PROGRAMS", "200"))
SEED = int(os.environ.get("GENIE_PROPERTY_SEED", "0"))
SHRINKING = 30.0  # seconds


@pytest.mark.timeout(0)
def test_random_programs(device: torch.device) -> None:
    failed: list[Program] = []
    until = [math.inf]

    @seed(SEED)
    @settings(
        max_examples=PROGRAMS,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(programs())
    def equal(program: Program) -> None:
        if time.monotonic() < until[0] and differs(program, device):
            if not failed:
                until[0] = time.monotonic() + SHRINKING
            failed.append(program)
            raise AssertionError

    try:
        equal()
    except BaseException:
        if not failed:
            raise
    if failed:
        program = failed[-1].without_needless_lines(lambda p: bool(differs(p, device)))
        pytest.fail(f"{differs(program, device)}\n\n{program.script()}", pytrace=False)


def differs(program: Program, device: torch.device) -> str:
    """What the device does otherwise than the CPU."""
    try:
        lockstep.run(list(program.lines), device)
    except lockstep.Difference as difference:
        return str(difference)
    return ""
