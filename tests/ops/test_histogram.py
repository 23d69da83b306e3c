"""Counting integers, which accelerators do and the CPU does not."""

from __future__ import annotations

import pytest
import torch
from conformance.compare import difference


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint8], ids=str)
def test_histogram_of_integers(dtype: torch.dtype, device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("the CPU has it for floats only")
    values = torch.tensor([0, 3, 3, 1, 2, 3, 7, 0])
    want = torch.histc(values.float(), bins=4, min=0, max=3)
    got = torch.histc(values.to(dtype).to(device), bins=4, min=0, max=3)
    assert difference(want.to(dtype), got, device.type) == ""
