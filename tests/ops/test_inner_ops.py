"""Ops that are seldom called by name, found by TorchCTS."""

from __future__ import annotations

import pytest
import torch

DEVICE = "remote_accelerator"


def test_copies_of_a_dual_number_in_inference_mode():
    with torch.inference_mode():
        primal = torch.randn(2, 3, device=DEVICE)
        for copy in (
            torch.ops.aten._fw_primal_copy(primal, 0),
            torch.ops.aten._make_dual_copy(primal, torch.ones_like(primal), 0),
        ):
            assert copy.data_ptr() != primal.data_ptr()
            assert torch.equal(copy.cpu(), primal.cpu())


@pytest.mark.parametrize(("cell", "gates", "spaces"), [("lstm", 4, 4), ("gru", 3, 5)])
def test_fused_cells_give_a_workspace_like_those_of_cuda(cell, gates, spaces):
    op = getattr(torch.ops.aten, f"_thnn_fused_{cell}_cell")
    made = torch.randn(2, gates * 4, device=DEVICE)
    workspace = op(made, made, torch.randn(2, 4, device=DEVICE))[-1]
    assert workspace.shape == (2, spaces * 4)
