"""Tensors that grow by `cat`: the executor writes behind them, and nobody can tell."""

from __future__ import annotations

import pytest
import torch


def grow(device, sizes, dim, steps, use):
    """Append to a tensor, and say at each step what `use` makes of it."""
    torch.manual_seed(0)
    size = [n if i != dim % len(sizes) else 1 for i, n in enumerate(sizes)]
    kept = torch.randn(sizes).to(device)
    seen = []
    for _ in range(steps):
        kept = torch.cat([kept, torch.randn(size).to(device)], dim)
        seen.append(use(kept).cpu())
    return [*seen, kept.cpu()]


@pytest.mark.parametrize(
    ("sizes", "dim"), [((2, 3, 5, 4), -2), ((7,), 0), ((2, 6), 1), ((3, 2), 0)]
)
@pytest.mark.parametrize(
    "use",
    [
        lambda t: t.sum(),
        lambda t: t.transpose(0, -1) * 2,
        lambda t: t.flatten()[3:].clone(),  # crosses from row to row
        lambda t: t.reshape(-1, t.shape[-1]) @ t.reshape(-1, t.shape[-1]).T,
        lambda t: t.select(0, 0).exp(),
        lambda t: t.unfold(-1, 2, 1).contiguous() if t.shape[-1] > 1 else t + 1,
    ],
)
def test_growing_gives_the_same_bits(genie, outcomes, only, sizes, dim, use):
    only("append")
    expected = grow("cpu", sizes, dim, 12, use)
    found = grow(genie, sizes, dim, 12, use)
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert {one.state for one in outcomes()} <= {"accepted"}


def test_a_growing_tensor_is_found(genie, outcomes, only):
    only("append")
    assert torch.equal(*(grow(d, (3, 4, 2), 1, 5, lambda t: t.exp())[-1] for d in ("cpu", genie)))
    assert {one.state for one in outcomes()} == {"accepted"}


def test_the_old_tensor_may_live_on_and_change(genie, only):
    only("append")
    grown = torch.zeros(2, 3, device=genie)
    history = []
    for step in range(6):
        history.append(grown)
        grown = torch.cat([grown, torch.full((2, 1), float(step), device=genie)], 1)
        history[-1].add_(100)
        expected = torch.cat(
            [torch.zeros(2, 3), *(torch.full((2, 1), float(i)) for i in range(step + 1))], 1
        )
        assert grown.cpu().shape == expected.shape
    assert torch.equal(history[0].cpu(), torch.full((2, 3), 100.0))


def test_a_grown_tensor_is_written_in_place(genie, only):
    only("append")

    def run(device):
        grown = torch.zeros(2, 3, device=device)
        for step in range(8):
            grown = torch.cat([grown, torch.full((2, 1), float(step), device=device)], 1)
            grown[:, 0] += step
            grown.flatten()[2:5].mul_(2)
            grown.sum().item()
        return grown.cpu()

    assert torch.equal(run(genie), run("cpu"))


def test_a_first_part_without_anything_in_it(genie, only):
    """As a cache is before its first token: of one dimension, and empty."""
    only("append")

    def run(device):
        grown = torch.tensor([], device=device)
        for step in range(5):
            grown = torch.cat([grown, torch.full((1, 2, 1, 3), float(step), device=device)], -2)
            grown.sum().item()
        return grown.cpu()

    assert torch.equal(run(genie), run("cpu"))
