"""Why a test of TorchCTS fails on the device."""

from __future__ import annotations

import re

CPU = "the CPU's kernel"
UNKNOWN = "not known"

# By what the test says; the first that fits.
_BY_MESSAGE = (
    (r"strided tensors only", "sparse tensors are refused: a limit of Genie's"),
    (r"tensor_indices_or_sections to be on cpu", "PyTorch's rule for each device but the CPU"),
    (r"with arguments from the 'CPU' backend", "the executor, a CPU, has no kernel for the op"),
    (r"This is an operator for privateuse1 backends", "an op that Genie does not give"),
    (r"only dense CPU tensors can be pinned", "so it is on CUDA"),
    (r"_thnn_fused_gru_cell returned malformed workspace", "the shape is that of CUDA's"),
    (r"has no overload name", "an overload that this torch has no longer"),
    (
        r"unexpectedly accepted|raised \w+ but device succeeded",
        "raised where a result is read, not at the call: Genie's design",
    ),
    (r"its process ended", "crashes"),
)


def why(name: str, message: str, on_cpu: dict[str, bool]) -> str:
    """The reason, as far as it is known."""
    if on_cpu.get(name):
        return CPU
    return next((reason for said, reason in _BY_MESSAGE if re.search(said, message)), UNKNOWN)
