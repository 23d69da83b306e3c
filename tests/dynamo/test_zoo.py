"""The zoo, compiled: forward and training as eager on the CPU, within torch's own tolerance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conformance.compare import difference
from models.runs import RUNS
from models.zoo import ZOO, Entry, missing
from torch import nn


def compiled(model: nn.Module) -> Any:
    return torch.compile(model, backend="genie")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Dynamo's advice on models' own code
@pytest.mark.parametrize("run", ["forward", "training"])
@pytest.mark.parametrize("entry", ZOO, ids=str)
def test_as_eager(entry: Entry, run: str, device: torch.device) -> None:
    if missing(entry.library):
        pytest.skip(missing(entry.library))
    want = RUNS[run](entry, torch.device("cpu"))
    got = RUNS[run](entry, device, compiled)
    assert difference(want, got, device.type, loosely=True) == ""
