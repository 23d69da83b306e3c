"""Each family in small modules of other spellings than the library's, and in none that lack it."""

from __future__ import annotations

import pytest
import torch
from patterns import nets
from patterns.finding import counts, families, graphs_of, matches, ops
from semantics.recording import op_name
from torch import nn

IMAGE, WORDS, STEPS = (2, 8, 6, 6), (2, 3, 8), (3, 2, 8)

CASES = {
    "attention": (nets.HandAttention(), [WORDS], {"attention": 1}),
    "multihead": (nn.MultiheadAttention(8, 2), [STEPS] * 3, {"cross_attention": 1}),
    "rms norm": (nets.RMSNorm(form=0), [WORDS], {"rms_norm": 1}),
    "rms norm, divided": (nets.RMSNorm(form=1), [WORDS], {"rms_norm": 1}),
    "rms norm, from one": (nets.RMSNorm(form=2), [WORDS], {"rms_norm": 1}),
    "layer norm": (nn.LayerNorm(8), [WORDS], {"layer_norm": 1}),
    "layer norm, by hand": (nets.LayerNorm(), [WORDS], {"layer_norm": 1}),
    "mlp, gelu": (nets.MLP(0), [WORDS], {"mlp": 1}),
    "mlp, quick gelu": (nets.MLP(1), [WORDS], {"mlp": 1}),
    "mlp, squared relu": (nets.MLP(2), [WORDS], {"mlp": 1}),
    "mlp, erf": (nets.MLP(3), [WORDS], {"mlp": 1}),
    "gated mlp": (nets.Gated(), [WORDS], {"gated_mlp": 1}),
    "gated mlp, fused": (nets.Gated(fused=True), [WORDS], {"gated_mlp": 1}),
    "conv": (nets.conv(8, 4), [IMAGE], {"conv_bn_act": 1}),
    "depthwise": (
        nn.Sequential(nets.conv(8, 8, groups=8), nets.conv(8, 4, 1)),
        [IMAGE],
        {"depthwise_separable": 1, "conv_bn_act": 2},
    ),
    "squeeze, excite": (nets.SqueezeExcite(linear=False), [IMAGE], {"squeeze_excite": 1}),
    "squeeze, excite, linear": (nets.SqueezeExcite(linear=True), [IMAGE], {"squeeze_excite": 1}),
    "residual block": (
        nets.ResidualBlock(8, 8),
        [IMAGE],
        {"residual_block": 1, "residual": 1, "conv_bn_act": 1},
    ),
    "residual block, wider": (
        nets.ResidualBlock(8, 4),
        [IMAGE],
        {"residual_block": 1, "residual": 1, "conv_bn_act": 1},
    ),
    "unet": (nets.UNet(), [(2, 3, 8, 8)], {"unet_skip": 1, "conv_bn_act": 3}),
    "lstm": (nets.Loop(nn.LSTMCell(8, 5)), [STEPS], {"lstm_cell": 3, "cell_loop": 1}),
    "gru": (nets.Loop(nn.GRUCell(8, 5)), [STEPS], {"gru_cell": 3, "cell_loop": 1}),
    "rnn": (nets.Loop(nn.RNNCell(8, 5)), [STEPS], {"rnn_cell": 3, "cell_loop": 1}),
    "gru layer": (nn.GRU(8, 5), [STEPS], {"gru_cell": 3, "cell_loop": 1}),
    "lora": (nets.LoRA(), [WORDS], {"lora": 1}),
    "quantized": (nets.Quantized(), [WORDS], {"quantized_linear": 1}),
    "router": (nets.Router(first=True), [(6, 8)], {"moe_routing": 1}),
    "router, softmax last": (nets.Router(first=False), [(6, 8)], {"moe_routing": 1}),
    "scan": (nets.Scan(), [WORDS], {"ssm_scan": 1}),
    "none": (nets.Plain(), [(2, 3, 6, 6)], {}),
}


@pytest.mark.parametrize("train", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_module_has_what_it_has(case, train, recording):
    model, sizes, wanted = CASES[case]
    model = model.to(recording.device).train(train)
    inputs = [torch.randn(size).to(recording.device) for size in sizes]
    with torch.set_grad_enabled(train):
        graphs = graphs_of(recording, lambda: model(*inputs))
    assert counts(graphs) == wanted


def test_features_interact(recording):
    model = nets.DLRM().to(recording.device)
    dense = torch.randn(2, 5).to(recording.device)
    sparse = torch.randint(10, (2, 3)).to(recording.device)
    graphs = graphs_of(recording, lambda: model(dense, sparse))
    assert counts(graphs) == {"mlp": 2, "embedding_bag": 2, "feature_interaction": 1}


def test_the_ops_of_attention_are_products_softmax_and_what_masks(recording):
    model = nets.HandAttention().to(recording.device)
    words = torch.randn(WORDS).to(recording.device)
    graphs = graphs_of(recording, lambda: model(words))
    names = [op_name(node) for node in ops(graphs, "attention")]
    assert names.count("bmm") == 2
    assert {"_softmax", "masked_fill"} <= set(names)
    assert "addmm" not in names
    (match,) = matches(graphs, "attention")
    assert match.literals["causal"]
    assert match.inputs["q"].meta["geometry"].size[-1] == 4


def test_attention_to_something_else_is_cross_attention(recording):
    model = nets.HandAttention().to(recording.device)
    words, memory = (torch.randn(2, n, 8).to(recording.device) for n in (3, 5))
    graphs = graphs_of(recording, lambda: model(words, memory))
    assert counts(graphs) == {"cross_attention": 1}
    (match,) = matches(graphs, "cross_attention")
    assert not match.literals["causal"]


def test_a_dropout_is_found_and_seen_through(recording):
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Dropout(), nn.Linear(16, 8))
    model = model.to(recording.device).train()
    words = torch.randn(WORDS).to(recording.device)
    graphs = graphs_of(recording, lambda: model(words))
    assert counts(graphs) == {"dropout": 1, "mlp": 1}


@pytest.mark.parametrize("foreach", [False, True])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (lambda p, f: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=f), "sgd"),
        (lambda p, f: torch.optim.Adam(p, foreach=f), "adam"),
        (lambda p, f: torch.optim.AdamW(p, foreach=f), "adamw"),
        (lambda p, f: torch.optim.RMSprop(p, foreach=f), ""),
    ],
    ids=["sgd", "adam", "adamw", "rmsprop"],
)
def test_updates(kind, name, foreach, recording):
    model = nn.Linear(8, 8).to(recording.device)
    optimizer = kind(model.parameters(), foreach)
    words = torch.randn(WORDS).to(recording.device)

    def step():
        optimizer.zero_grad()
        model(words).sum().backward()
        optimizer.step()

    graphs = graphs_of(recording, step)
    found = [node for graph in graphs for node in graph.nodes if "op" in node.meta]
    updates = [node for node in found if node.meta["genie"].phase == "optimizer"]
    assert updates
    assert {frozenset(families(node)) for node in updates} == {frozenset({name} - {""})}


def test_a_lookup_and_logits_of_the_same_table(recording):
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(12, 8)

        def forward(self, tokens):
            logits = self.table(tokens) @ self.table.weight.T
            return nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())

    model = Tied().to(recording.device)
    tokens = torch.randint(12, (2, 3)).to(recording.device)
    graphs = graphs_of(recording, lambda: model(tokens))
    assert counts(graphs) == {"embedding": 1, "tied_logits": 1, "softmax_cross_entropy": 1}
