"""Each family in spellings that are found in the field, and what looks alike and is not."""

from __future__ import annotations

import pytest
import torch
from patterns import (
    spelled_attention,
    spelled_layers,
    spelled_otherwise,
    spelled_sequences,
    spelled_vision,
)
from patterns.finding import counts, graphs_of

SPELLED = (spelled_vision, spelled_sequences, spelled_attention, spelled_layers, spelled_otherwise)
CASES = {name: case for module in SPELLED for name, case in module.CASES.items()}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_spelling_has_what_it_has(case, recording):
    model, sizes, wanted = CASES[case]
    model = model.to(recording.device).eval()
    inputs = [given(size).to(recording.device) for size in sizes]
    with torch.no_grad():
        graphs = graphs_of(recording, lambda: model(*inputs))
    assert counts(graphs) == wanted


def given(size):
    """Numbers of a size; of one that says below which number they are, integers."""
    return torch.randint(size[1], size[0]) if isinstance(size[0], tuple) else torch.randn(size)
