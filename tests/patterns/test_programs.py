"""Programs that are cut, that have no forward, and patterns of other packages."""

from __future__ import annotations

import subprocess
import sys

import torch
from patterns.finding import counts, graphs_of, matches, ops
from semantics import models
from semantics.recording import op_name


def test_a_cut_in_the_middle_costs_nothing(recording):
    """A trace is cut after enough ops wherever it is: 12 layers are two programs."""
    layers = 12
    model = models.gpt2("eager", layers=layers).to(recording.device).train()
    tokens = models.tokens(2, 5).to(recording.device)
    graphs = graphs_of(recording, lambda: model(input_ids=tokens, labels=tokens).loss)
    assert len(graphs) > 1
    found = ops(graphs, "attention")
    assert sum(op_name(node) == "bmm" for node in found) == 2 * layers
    assert sum(op_name(node) == "_softmax" for node in found) == layers
    assert len(ops(graphs, "residual")) == 2 * layers
    assert sum(op_name(node) == "tanh" for node in ops(graphs, "mlp")) == layers
    inside = [node for node in found if "decoder#0" in node.meta["genie"].patterns]
    assert len(inside) == len(found)


def test_a_training_step_has_blocks_and_an_update(recording):
    model = models.gpt2("sdpa").to(recording.device).train()
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = models.tokens(2, 5).to(recording.device)

    def step():
        optimizer.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()

    graphs = graphs_of(recording, step)
    found = counts(graphs)
    assert found["adamw"] >= 1
    assert found["transformer_block"] >= 2
    backward = [n for g in graphs for n in g.nodes if "op" in n.meta]
    backward = [n for n in backward if n.meta["genie"].phase == "backward"]
    assert backward
    assert all(node.meta["genie"].patterns == () for node in backward)


def test_a_match_says_what_it_is_made_of(recording):
    model = models.gpt2("sdpa").to(recording.device).eval()
    tokens = models.tokens(2, 5).to(recording.device)
    with torch.no_grad():
        graphs = graphs_of(recording, lambda: model(tokens).logits)
    (decoder,) = matches(graphs, "decoder")
    assert [part.pattern.name for part in decoder.parts] == ["transformer_block"] * 2
    for block in decoder.parts:
        assert {"attention", "mlp", "residual"} <= {part.pattern.name for part in block.parts}
        assert set(block.nodes) <= set(decoder.nodes)


PLUGIN = """
import torch, genie_core

def softcap(x, cap):
    return torch.tanh(x / cap) * cap

@genie_core.hookimpl
def genie_patterns():
    return [genie_core.Pattern("softcap", [softcap], lambda: (torch.empty(2, 3), 30.0))]
"""
USE = """
import torch, genie_core
from genie_core import explain
x = torch.ones(2, 3, device="remote_accelerator")
with explain() as e:
    (50.0 * torch.tanh(x / 50.0)).cpu()
print({p for program in e.programs for n in program.nodes for p in n.meta["genie"].patterns})
"""


def test_a_package_brings_a_pattern(tmp_path):
    (tmp_path / "my_patterns.py").write_text(PLUGIN)
    info = tmp_path / "my_patterns-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-patterns\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[genie.plugins]\nmy_patterns = my_patterns\n")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{USE}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "{'softcap#0'}", result.stderr


def test_tokens_that_were_made_there_are_no_constants(recording):
    """`arange` on the device depends on nothing; what is computed from its tokens is not fixed."""
    model = models.gpt2("eager").to(recording.device).eval()
    tokens = torch.arange(5, device=recording.device).unsqueeze(0)
    with torch.no_grad():
        graphs = graphs_of(recording, lambda: model(input_ids=tokens).logits)
    found = counts(graphs)
    assert found["attention"] == found["mlp"] == found["transformer_block"] == 2
