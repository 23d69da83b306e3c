"""What a kernel refuses by shapes or dtypes is raised at the call, as it is on other devices."""

from __future__ import annotations

import pytest
import torch

CALLS = {
    "aminmax": lambda x: torch.aminmax(x, dim=0, out=(x[0].clone(), x[0].double())),
    "as_strided_scatter": lambda x: x.as_strided_scatter(x[:2, :2], (2, 2), (200, 200)),
    "bucketize": lambda x: torch.bucketize(x, x),
    "complex": lambda x: torch.complex(x, x.double()),
    "complex out": lambda x: torch.complex(x.double(), x.double(), out=x.to(torch.complex64)),
    "index_add": lambda x: x.index_add(0, torch.tensor([0, 1], device=x.device), x[0, :2]),
    "multinomial": lambda x: torch.multinomial(x.long(), 1),
    "multinomial of none": lambda x: torch.multinomial(x, 0),
    "multinomial of more than there are": lambda x: torch.multinomial(x, 5),
    "multinomial out": lambda x: torch.multinomial(x, 1, out=x.double()),
    "masked_scatter": lambda x: x.masked_scatter(torch.ones_like(x, dtype=torch.uint8), x),
}


@pytest.mark.parametrize("device", ["cpu", "remote_accelerator"])
@pytest.mark.parametrize("name", CALLS)
def test_refused_at_the_call(name, device):
    x = torch.ones(4, 4, device=device)
    with pytest.raises(RuntimeError):
        CALLS[name](x)
