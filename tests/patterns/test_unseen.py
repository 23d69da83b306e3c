"""What is held out: that the zoo has none of it, and what its labels say."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from genie_benchmarks.zoo import zoo
from genie_benchmarks.zoo.entry import EVAL, GENERATE, HALF, TRAIN, prepare
from genie_benchmarks.zoo.recording import record
from genie_benchmarks.zoo.unseen import plain_models
from genie_benchmarks.zoo.unseen.entries import ENTRIES, label

alive: list[torch.nn.Module] = []


@pytest.fixture
def place(device):
    if device.type == "cpu":
        pytest.skip("a rehearsal records nothing")
    yield torch.empty(0, device=device).device
    alive.clear()


def entry(name):
    return next(one for one in ENTRIES if one.name == name)


def graphs(name, run, device):
    """The recorded ops of each graph of a run."""
    model, work = prepare(entry(name), run, device)
    alive.append(model)  # labels look at it
    return [
        [node for node in graph.nodes if "op" in node.meta] for graph in record(model, work, device)
    ]


def count(name, run, device):
    found = Counter()
    for nodes in graphs(name, run, device):
        found.update(instance.family for instance in label(nodes).instances)
    return dict(found)


def cores(name, run, device, family):
    (nodes,) = graphs(name, run, device)
    ops = [node.meta["op"].partition("::")[2].partition(".")[0] for node in nodes]
    return [[ops[i] for i in sorted(one.core)] for one in label(nodes).of(family)]


# Apart from the zoo --------------------------------------------------------------------------


def kinds(entries):
    """The types of all modules of these models, but torch's own."""
    found = {type(module) for one in entries for module in one.make().modules()}
    return {kind for kind in found if not kind.__module__.startswith("torch.")}


def homes(kinds):
    """The files of transformers that these types are from."""
    return {kind.__module__ for kind in kinds if ".modeling_" in kind.__module__}


def test_no_model_that_is_held_out_is_in_the_zoo():
    pytest.importorskip("transformers")
    names = {one.name for one in ENTRIES}
    assert len(names) == len(ENTRIES)
    assert names.isdisjoint(one.name for one in zoo.ENTRIES)
    seen = kinds(zoo.ENTRIES)
    assert homes(seen)
    for one in ENTRIES:
        found = kinds([one])
        assert found - seen, f"{one.name} has nothing that the zoo does not have"
        assert homes(found).isdisjoint(homes(seen)), one.name


# Labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "run", "wanted"),
    [
        (
            "masked fill of a buffer, written GELU, tied",
            TRAIN,
            {
                "embedding": 2,
                "attention": 2,
                "layer_norm": 5,
                "mlp": 2,
                "residual": 4,
                "dropout": 2,
                "tied_logits": 1,
                "softmax_cross_entropy": 1,
                "adamw": 28,
                "transformer_block": 2,
                "decoder": 1,
            },
        ),
        (
            "writer, cache that grows",
            EVAL,
            {
                "embedding": 3,
                "attention": 6,
                "rope": 12,
                "rms_norm": 15,
                "gated_mlp": 6,
                "residual": 12,
                "kv_cache_append": 8,  # two steps' keys and values of two layers
                "transformer_block": 6,
                "decoder": 3,
            },
        ),
        (
            "encoder-decoder, relative",
            HALF,
            {
                "embedding": 2,
                "attention": 4,
                "cross_attention": 2,
                "rms_norm": 12,
                "gated_mlp": 4,
                "residual": 10,
                "tied_logits": 1,
                "transformer_block": 4,
                "decoder": 1,
                "encoder_decoder": 1,
            },
        ),
        (
            "MobileNetV3-like",
            EVAL,
            {
                "conv_bn_act": 8,
                "depthwise_separable": 3,
                "squeeze_excite": 3,
                "residual": 2,
                "residual_block": 2,
                "pooling_head": 1,
            },
        ),
        (
            "characters: GRU of six maps, then of matrices",
            TRAIN,
            {
                "embedding": 1,
                "gru_cell": 14,
                "cell_loop": 2,
                "dropout": 1,
                "softmax_cross_entropy": 1,
                "sgd": 15,
            },
        ),
    ],
)
def test_a_model_by_hand_has_what_it_was_written_with(name, run, wanted, place):
    assert count(name, run, place) == wanted


@pytest.mark.parametrize(
    ("name", "run", "wanted"),
    [
        ("qwen3", EVAL, {"rms_norm": 9, "rope": 4, "gated_mlp": 2, "decoder": 1}),
        ("gemma2 eager", EVAL, {"sliding_window": 1, "attention": 2}),
        ("roformer", EVAL, {"rope": 4, "attention": 2, "transformer_block": 2}),
        ("mt5", EVAL, {"cross_attention": 2, "embedding": 2, "encoder_decoder": 1}),
        ("mt5", GENERATE, {"cross_attention": 6, "attention": 8, "decoder": 3}),
        ("mobilenet_v1", EVAL, {"conv_bn_act": 27, "depthwise_separable": 13}),
        ("falcon_mamba", EVAL, {"ssm_scan": 2, "rms_norm": 3}),
    ],
)
def test_a_model_of_transformers_has_what_its_paper_says(name, run, wanted, place):
    pytest.importorskip("transformers")
    found = count(name, run, place)
    assert {family: found.get(family) for family in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "family", "core"),
    [
        ("LoRA of two kinds", "lora", ["mm", "mm", "add_"]),
        ("EfficientNetV2-like", "conv_bn_act", ["convolution", "native_batch_norm", "silu_"]),
        ("ALiBi in one row, BERT's first norm", "attention", ["bmm", "_softmax", "bmm"]),
        ("band of two triangles, mixture by sigmoids", "moe_routing", ["mm", "sigmoid", "topk"]),
    ],
)
def test_the_core_of_an_instance(name, family, core, place):
    assert core in cores(name, EVAL, place, family)


@pytest.mark.parametrize("negative", plain_models.NEGATIVES, ids=str)
def test_a_negative_has_no_instances(negative, place):
    for run in negative.runs:
        for nodes in graphs(negative.name, run, place):
            assert label(nodes).instances == ()


@pytest.mark.parametrize("make", [EVAL, TRAIN, HALF], ids=str)
def test_what_a_model_gives_is_what_it_gives_on_the_cpu(make, place):
    for name in ("writer, cache of fixed size", "quantized by rows", "shifted windows"):
        one = entry(name)
        if make in one.runs:
            assert outcome(one, make, place) == outcome(one, make, torch.device("cpu"))


def outcome(one, run, device):
    model, _ = prepare(one, run, device)
    batch = one.batch(run.batch)
    placed = {
        k: v.to(device, run.dtype if v.is_floating_point() else v.dtype) for k, v in batch.items()
    }
    return model.eval()(**placed).tolist()


FAMILIES = Path(__file__).parents[2] / "docs" / "patterns.md"


def test_each_family_is_in_two_models_by_hand_at_least(place):
    text = FAMILIES.read_text().partition("## Families")[2].partition("`Match.literals`")[0]
    families = set(re.findall(r"\w+", text))
    seen = Counter()
    for one in plain_models.ENTRIES:
        seen.update(set(count(one.name, one.runs[0], place)))
    assert {family for family in families if seen[family] < 2} == set()


@pytest.mark.parametrize("name", ["writer, cache of fixed size", "writer, cache that grows"])
def test_no_plugin_fails_at_a_cache_that_is_written_in_place(name, place, capsys):
    assert graphs(name, EVAL, place)
    assert "hook.failed" not in capsys.readouterr().err
