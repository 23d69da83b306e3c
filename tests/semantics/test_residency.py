"""What is pinned stays at the executor; what is streamed goes there once a run."""

from __future__ import annotations

import torch
from semantics import models

import genie_core


def test_prefill_and_decode_are_programs_of_their_own_and_move_no_weights(
    device, recording, synchronize
):
    model = models.gpt2("sdpa").eval().to(device)
    prompt = models.tokens(1, 4)

    def generate(count):
        given = {"max_new_tokens": count, "min_new_tokens": count, "do_sample": False}
        return model.generate(prompt.to(device), **given).cpu()

    generate(2)
    recording.forget()
    expected = generate(12)
    together = len(recording.graphs)
    generate(12)  # is cut where the phase changes
    apart = recording.graphs[together:]
    phases = [{n.meta["genie"].phase for n in g.nodes if "op" in n.meta} for g in apart]
    assert {"prefill", "decode"} <= set().union(*phases)
    assert not any({"prefill", "decode"} <= found for found in phases)

    generate(12)
    before = genie_core.stats(device)
    assert torch.equal(generate(12), expected)
    after = genie_core.stats(device)
    assert after.programs_built == before.programs_built
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    cache = 16 * 2 * model.config.n_layer * model.config.n_embd * 4  # bytes, at the end
    assert after.bytes_up - before.bytes_up < min(weights, 12 * 1024)
    assert after.bytes_down - before.bytes_down < cache
