"""Exported programs run on the device as they do on the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from genie_core.errors import SettingsError
from genie_plugins.dynamo.exported import load_exported

pytest.importorskip("torch.export.passes", reason="this torch moves no exported program")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor, *, by: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        self.calls.add_(1)
        positions = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
        return {"y": self.linear(x) * by["scale"] + positions, "calls": self.calls * 1}


def exported(rows: int = 3) -> torch.export.ExportedProgram:
    torch.manual_seed(0)
    batch = torch.export.Dim("rows", min=2, max=64)
    arguments = {"by": {"scale": torch.ones(4)}}
    shapes = {"x": {0: batch}, "by": {"scale": None}}
    return torch.export.export(Net(), (torch.ones(rows, 4),), arguments, dynamic_shapes=shapes)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("from_file", [False, True])
def test_as_on_the_cpu(
    device: torch.device, tmp_path: Path, compiled: bool, from_file: bool
) -> None:
    program = exported()
    want, given = program.module(), program
    if from_file:
        torch.export.save(program, tmp_path / "net.pt2")
        given = tmp_path / "net.pt2"
    got = load_exported(given, device, compiled=compiled)
    scale = torch.tensor([1.0, 2.0, 3.0, 4.0])
    for rows in (3, 5, 3):
        x = torch.randn(rows, 4)
        left = want(x, by={"scale": scale})
        right = got(x.to(device), by={"scale": scale.to(device)})
        for name in ("y", "calls"):
            assert right[name].device.type == device.type
            torch.testing.assert_close(right[name].cpu(), left[name])


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "net.pt2").write_bytes(b"no program")
    with pytest.raises(SettingsError, match="no .pt2 file"):
        load_exported(tmp_path / "net.pt2")
    with pytest.raises(OSError, match="missing"):
        load_exported(tmp_path / "missing.pt2")
