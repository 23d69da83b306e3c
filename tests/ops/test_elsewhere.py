"""Ops that take the device's tensors and leave their result on the CPU."""

from __future__ import annotations

import pytest
import torch

DEVICE = "remote_accelerator"
CALLS = {
    "zeros_like": lambda x: torch.zeros_like(x, device="cpu"),
    "full_like": lambda x: torch.full_like(x, 3, device="cpu"),
    "new_zeros": lambda x: x.new_zeros(2, device="cpu"),
    "new_full": lambda x: x.new_full((2,), 3, device="cpu"),
    "linspace": lambda x: torch.linspace(x[0], 3, 4),
    "linspace between tensors": lambda x: torch.linspace(x[0], x[1], 4),
    "logspace": lambda x: torch.logspace(0, x[1], 4),
}


@pytest.mark.parametrize("name", CALLS)
def test_result_is_on_the_cpu(name):
    x = torch.tensor([1.0, 2.0])
    result = CALLS[name](x.to(DEVICE))
    assert result.device.type == "cpu"
    assert torch.equal(result, CALLS[name](x))


def test_an_out_on_the_cpu():
    out = torch.empty(4)
    torch.linspace(torch.tensor(1.0, device=DEVICE), 3, 4, out=out)
    assert torch.equal(out, torch.linspace(1, 3, 4))


def test_kernels_of_the_device_do_not_write_there():
    x = torch.ones(2, device=DEVICE)
    with pytest.raises(RuntimeError, match="device"):
        torch.add(x, x, out=torch.empty(2))
