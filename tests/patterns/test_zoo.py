"""The labelled zoo: what its labels say of models that are known, and how findings are judged."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from genie_benchmarks.zoo import attentions, blocks, sequences, vision, zoo
from genie_benchmarks.zoo.calls import call_of
from genie_benchmarks.zoo.entry import EVAL, HALF, TRAIN, Entry, Run, prepare
from genie_benchmarks.zoo.hidden import hidden
from genie_benchmarks.zoo.judge import Score, found_in, judge
from genie_benchmarks.zoo.labels import label, phases
from genie_benchmarks.zoo.negatives import NEGATIVES
from genie_benchmarks.zoo.plain_models import ENTRIES as PLAIN
from genie_benchmarks.zoo.recording import record
from genie_benchmarks.zoo.truth import Instance, Truth
from torch import nn

alive: list[nn.Module] = []
PRODUCTS = {"aten::bmm", "aten::addmm", "aten::mm"}


@pytest.fixture
def place(device):
    if device.type == "cpu":
        pytest.skip("a rehearsal records nothing")
    yield torch.empty(0, device=device).device
    alive.clear()


def entry(name):
    return next(one for one in PLAIN if one.name == name)


def ops(entry, run, device):
    """The recorded ops of each graph of a run."""
    model, work = prepare(entry, run, device)
    alive.append(model)  # labels look at it
    graphs = record(model, work, device)
    return [[node for node in graph.nodes if "op" in node.meta] for graph in graphs]


def only(entry, run, device):
    (nodes,) = ops(entry, run, device)
    return nodes


def count(truth):
    return dict(Counter(instance.family for instance in truth.instances))


def names(nodes, instance):
    return [nodes[index].meta["op"] for index in sorted(instance.core)]


def part(module, *size):
    return Entry("part", lambda: module, lambda batch: {"x": torch.randn(batch, *size)})


def transformer(name):
    pytest.importorskip("transformers")
    from genie_benchmarks.zoo.transformers_models import ENTRIES

    return next(one for one in ENTRIES if one.name == name)


# Labels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [EVAL, HALF, Run("eval", 3)], ids=str)
def test_an_unmodified_gpt2_has_what_it_is_known_to_have(place, run):
    nodes = only(transformer("gpt2"), run, place)
    assert count(label(nodes)) == {
        "embedding": 2,
        "attention": 2,
        "layer_norm": 5,
        "mlp": 2,
        "residual": 4,
        "kv_cache_append": 4,
        "tied_logits": 1,
        "softmax_cross_entropy": 1,
        "transformer_block": 2,
        "decoder": 1,
    }


def test_a_training_step_adds_dropout_and_the_optimizer(place):
    nodes = only(transformer("gpt2"), TRAIN, place)
    found = count(label(nodes))
    assert found["dropout"] == 5  # embeddings; each block's projection and MLP
    assert found["adamw"] == 1
    assert found["attention"] == 2


def test_llama_is_told_from_gpt2(place):
    found = count(label(only(transformer("llama"), EVAL, place)))
    assert found["rms_norm"] == 5
    assert found["gated_mlp"] == 2
    assert found["rope"] == 4  # queries and keys of two layers
    assert "layer_norm" not in found
    assert "mlp" not in found


def test_an_encoder_decoder_has_both_kinds_of_attention(place):
    found = count(label(only(transformer("t5"), EVAL, place)))
    assert (found["attention"], found["cross_attention"]) == (4, 2)
    assert (found["transformer_block"], found["decoder"], found["encoder_decoder"]) == (4, 1, 1)


@pytest.mark.parametrize(
    ("kind", "core"),
    [
        (attentions.EinsumAttention, ["aten::bmm", "aten::_softmax", "aten::bmm"]),
        (attentions.BaddbmmAttention, ["aten::baddbmm", "aten::_softmax", "aten::bmm"]),
        (attentions.MaskedFillAttention, ["aten::bmm", "aten::_softmax", "aten::bmm"]),
    ],
)
def test_the_core_of_attention_is_its_products_and_the_softmax(kind, core, place):
    nodes = only(part(kind(), 5, attentions.WIDTH), EVAL, place)
    truth = label(nodes)
    (attention,) = truth.of("attention")
    assert [name.partition(".")[0] for name in names(nodes, attention)] == core
    assert attention.core.isdisjoint(truth.undecided("attention"))


def test_each_call_of_a_cell_is_an_instance_and_their_chain_a_loop(place):
    loop = sequences.CellLoop(nn.GRUCell(16, 16))
    truth = label(only(part(loop, 6, 16), EVAL, place))
    cells = truth.of("gru_cell")
    assert len(cells) == 6
    (chain,) = truth.of("cell_loop")
    assert chain.core == frozenset().union(*(cell.core for cell in cells))


def test_the_cells_of_torchs_own_module_are_told_apart(place):
    rnn = Entry("rnn", lambda: nn.GRU(16, 16, bidirectional=True), _sequence)
    truth = label(only(rnn, EVAL, place))
    assert len(truth.of("gru_cell")) == 2 * 4
    assert len(truth.of("cell_loop")) == 2


def _sequence(batch):
    return {"input": torch.randn(4, batch, 16)}


def test_a_convolution_without_activation_is_left_open(place):
    nodes = only(part(vision.BasicBlock(4), 4, 6, 6), EVAL, place)
    truth = label(nodes)
    (found,) = truth.of("conv_bn_act")
    assert len(found.core) == 3
    open_ = {nodes[index].meta["op"].partition(".")[0] for index in truth.open["conv_bn_act"]}
    assert "aten::convolution" in open_
    (block,) = truth.of("residual_block")
    assert found.core < block.core


def test_of_a_lora_layer_the_base_is_left_open(place):
    nodes = only(part(blocks.LoraLinear(16, 12), 16), EVAL, place)
    truth = label(nodes)
    (found,) = truth.of("lora")
    products = [i for i, node in enumerate(nodes) if node.meta["op"] in PRODUCTS]
    assert len(products) == 3
    assert len(found.core & set(products)) == 2


@pytest.mark.parametrize("negative", NEGATIVES, ids=str)
def test_a_negative_has_no_instances(negative, place):
    for nodes in ops(negative, EVAL, place):
        assert label(nodes).instances == ()


def test_the_optimizers_ops_are_the_optimizers(place):
    nodes = only(entry("LSTM cells in a loop"), TRAIN, place)
    truth = label(nodes)
    updates = truth.of("sgd")
    assert len(updates) == 4  # one by one
    assert {nodes[i].meta["genie"].phase for u in updates for i in u.core} == {"optimizer"}


def model(name):
    return next(one for one in zoo.ENTRIES if one.name == name)


def test_of_a_block_that_sums_its_parts_first_the_last_sum_is_beyond_doubt(place):
    pytest.importorskip("transformers")
    found = count(label(only(model("gptj"), EVAL, place)))
    assert (found["attention"], found["mlp"], found["layer_norm"]) == (2, 2, 3)
    assert (found["residual"], found["rope"]) == (2, 4)
    assert (found["transformer_block"], found["decoder"]) == (2, 1)


def test_a_block_that_adds_nothing_is_no_residual_block(place):
    pytest.importorskip("transformers")
    found = count(label(only(model("efficientnet"), EVAL, place)))
    assert found["squeeze_excite"] == 4
    assert found["residual_block"] == 2  # each stage's second
    assert found["conv_bn_act"] == 8  # stem, top, 4 depthwise, 2 that widen


def test_projections_of_grouped_attention_are_left_open(place):
    nodes = only(model("decoder: grouped einsum, RMS norm by unit vectors"), EVAL, place)
    for attention in label(nodes).of("attention"):
        core = [name.partition(".")[0] for name in names(nodes, attention)]
        assert core == ["aten::bmm", "aten::_softmax", "aten::bmm"]


# Phases --------------------------------------------------------------------------------------


def test_phases_are_told_by_what_ran(place):
    nodes = only(entry("MLP"), TRAIN, place)
    true = [phases(node) for node in nodes]
    assert {name for names in true for name in names} == {"forward", "backward", "optimizer"}
    products = [p for n, p in zip(nodes, true, strict=True) if n.meta["op"] in PRODUCTS]
    assert products.count(frozenset(("forward",))) == 2
    assert products.count(frozenset(("backward",))) == 3  # the input needs no gradient


def test_a_generation_is_prefill_then_decode(place):
    found = Counter()
    for nodes in ops(transformer("gpt2"), Run("generate", 1), place):
        found.update(p for n in nodes if n.meta["op"] == "aten::embedding" for p in phases(n))
    assert found == {"prefill": 2, "decode": 4}


# Hiding --------------------------------------------------------------------------------------


def test_names_are_hidden_and_come_back(place):
    model, work = prepare(entry("MLP"), TRAIN, place)
    (graph,) = record(model, work, place)
    nodes = [node for node in graph.nodes if "op" in node.meta]
    before = [node.meta["genie"] for node in nodes]
    assert any(known.module for known in before)
    with hidden(graph):
        for node, known in zip(nodes, before, strict=True):
            told = node.meta["genie"]
            assert (told.phase, told.role) == (known.phase, known.role)
            assert not (told.module)
            assert not (told.module_type)
            assert not (told.root)
            assert not (told.parameters)
            assert call_of(node) is None
            assert not node.meta["mark"].origin
        for node in graph.nodes:
            assert not getattr(node.meta.get("genie"), "parameters", ())
    assert [node.meta["genie"] for node in nodes] == before


# Judging -------------------------------------------------------------------------------------


def ops_of(*indices):
    return frozenset(indices)


TRUTH = Truth(
    (
        Instance("attention", ops_of(1, 2, 3), ops_of(0)),
        Instance("attention", ops_of(6, 7, 8), ops_of(5)),
        Instance("decoder", ops_of(*range(1, 11))),
    ),
    {"mlp": ops_of(9)},
    neutral=ops_of(4),
)


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ([ops_of(1, 2, 3), ops_of(6, 7, 8)], (6, 0, 0, 2)),
        ([ops_of(0, 1, 2, 3, 4), ops_of(5, 6, 7, 8)], (6, 0, 0, 2)),  # open and neutral: no matter
        ([ops_of(1, 2, 3)], (3, 0, 3, 1)),
        ([ops_of(1, 2), ops_of(3), ops_of(6, 7, 8)], (6, 0, 0, 1)),  # all ops, in pieces
        ([ops_of(1, 2, 3, 10), ops_of(6, 7, 8)], (6, 1, 0, 1)),
        ([], (0, 0, 6, 0)),
    ],
)
def test_ops_that_are_found_count_one_by_one(found, counts):
    score = judge(TRUTH, {"attention": found})["attention"]
    assert (score.right, score.wrong, score.missed, score.whole) == counts
    assert score.instances == 2


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        ([ops_of(*range(1, 11))], (1, 0, 0)),
        ([ops_of(*range(1, 9))], (1, 0, 0)),
        ([ops_of(*range(1, 8))], (0, 1, 1)),
        ([ops_of(*range(1, 11)), ops_of(*range(1, 11))], (1, 1, 0)),
    ],
)
def test_what_is_composed_is_found_if_most_of_it_is(found, counts):
    score = judge(TRUTH, {"decoder": found})["decoder"]
    assert (score.right, score.wrong, score.missed) == counts


def test_what_no_rule_decides_on_counts_neither_way():
    assert judge(TRUTH, {"mlp": [ops_of(9)]})["mlp"] == Score()
    assert judge(TRUTH, {"mlp": [ops_of(8, 9)]})["mlp"] == Score(wrong=1)


def test_a_family_without_an_agreed_core_is_found_where_it_is():
    truth = Truth((Instance("alibi", ops_of(1), ops_of(2)),), {"alibi": ops_of(7)}, ops_of())
    assert judge(truth, {"alibi": [ops_of(7)]})["alibi"].f1 == 1
    assert judge(truth, {"alibi": [ops_of(2, 3)]})["alibi"].precision == 0.5
    assert judge(truth, {})["alibi"].recall == 0


def test_figures_of_a_score():
    score = Score(right=6, wrong=2, missed=6, instances=4, whole=1)
    assert (score.precision, score.recall, score.instance_recall) == (0.75, 0.5, 0.25)
    assert score.f1 == pytest.approx(0.6)
    assert Score(missed=3, instances=1).f1 == 0


def test_instances_are_told_by_their_names():
    found = found_in([("mlp#0", "decoder#0"), ("decoder#0",), (), ("mlp#1", "decoder#0")])
    assert found == {"mlp": [ops_of(0), ops_of(3)], "decoder": [ops_of(0, 1, 3)]}


def test_the_truth_itself_is_without_fault(place):
    nodes = only(entry("mean pooling of a block"), TRAIN, place)
    truth = label(nodes)
    found = {family: [i.core for i in truth.of(family)] for family in count(truth)}
    scores = judge(truth, found)
    assert set(scores) == set(found)
    assert {score.f1 for score in scores.values()} == {1.0}
    assert {score.instance_recall for score in scores.values()} == {1.0}


# What the matchers see -----------------------------------------------------------------------


@pytest.mark.parametrize("run", [EVAL, TRAIN], ids=str)
@pytest.mark.parametrize("name", ["decoder: ALiBi by hand", "squeeze-excite network", "DLRM"])
def test_the_matchers_find_the_same_without_names(name, run, place):
    patterns = pytest.importorskip("genie_plugins.patterns")
    model, work = prepare(entry(name), run, place)
    (graph,) = record(model, work, place)
    nodes = [node for node in graph.nodes if "op" in node.meta]
    seen = [node.meta["genie"].patterns for node in nodes]
    assert any(seen)
    with hidden(graph):
        patterns.genie_annotate(graph)
        assert [node.meta["genie"].patterns for node in nodes] == seen
