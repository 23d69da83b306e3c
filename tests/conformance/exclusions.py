"""What cannot be compared with the CPU, and why: each reason is PyTorch's, none is the device's."""

from __future__ import annotations

# The CPU's own kernels write past an `out=` that has strides of its own, and the process crashes.
NO_STRIDED_OUT = {"linalg.lu", "lu_unpack", "tril", "triu"}

_BY_DEVICE_TYPE = (
    "torch's own Python code picks another accumulation dtype where the device is not a CPU"
)
_EXCLUDED = {
    ("nn.functional.linear_cross_entropy.chunked", "bfloat16"): _BY_DEVICE_TYPE,
    ("nn.functional.linear_cross_entropy.chunked", "float16"): _BY_DEVICE_TYPE,
    ("nn.functional.linear_cross_entropy.chunked_none", "bfloat16"): _BY_DEVICE_TYPE,
    ("nn.functional.linear_cross_entropy.chunked_none", "float16"): _BY_DEVICE_TYPE,
    ("nn.LinearCrossEntropyLoss", "bfloat16"): _BY_DEVICE_TYPE,
    ("nn.LinearCrossEntropyLoss", "float16"): _BY_DEVICE_TYPE,
}


def reason(name: str, dtype: str) -> str:
    """Why an entry is left out in a dtype, "" if it is not."""
    return _EXCLUDED.get((name, dtype), "")
