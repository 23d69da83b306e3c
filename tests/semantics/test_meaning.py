"""Phases, roles, residency, modality and annotations of a graph's nodes."""

from __future__ import annotations

import gc
import threading

import pytest
import torch
from semantics import models
from semantics.recording import op_name
from torch import nn

import genie_core
from genie_plugins.semantics.annotation import Annotation


def meanings(nodes):
    return [node.meta["genie"] for node in nodes]


def by_parameter(nodes):
    return {known.parameters[0]: known for known in meanings(nodes) if known.parameters}


# Phases --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "grad", "phase"),
    [
        (True, True, "forward"),
        (True, False, "forward"),
        (False, True, "forward"),
        (False, False, "eval"),
    ],
)
def test_eval_is_without_gradients_and_in_eval_mode(
    train, grad, phase, device, recording, synchronize
):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).to(device).train(train)
    synchronize()
    with torch.set_grad_enabled(grad):
        model(torch.ones(2, 3, device=device))
    synchronize()
    assert {known.phase for known in meanings(recording.named("tanh"))} == {phase}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_generation_has_prefill_and_decode(attention, device, recording, synchronize):
    model = models.gpt2(attention).eval().to(device)
    recording.forget()
    model.generate(models.tokens(1, 4).to(device), max_new_tokens=4, do_sample=False)
    synchronize()
    heads = [n for n in recording.named("addmm") if "c_fc" in n.meta["genie"].module]
    rows = [(n.meta["outputs"][0][2].size[0], n.meta["genie"].phase) for n in heads]
    assert {phase for size, phase in rows if size == 4} == {"prefill"}
    assert {phase for size, phase in rows if size == 1} == {"decode"}
    inside = [known for known in meanings(recording.ops) if known.module is not None]
    assert {known.phase for known in inside} == {"prefill", "decode"}


def test_a_cache_of_ones_own_is_told_from_the_graph(device, recording, synchronize):
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v = (nn.Linear(4, 4) for _ in range(3))

        def forward(self, x, old):
            keys, values = self.k(x), self.v(x)
            if old is not None:
                keys, values = torch.cat([old[0], keys], 1), torch.cat([old[1], values], 1)
            weights = torch.softmax(self.q(x) @ keys.transpose(1, 2) / 2.0, -1)
            return weights @ values, (keys, values)

    model = Attention().eval().to(device)
    with torch.no_grad():
        _, old = model(torch.ones(1, 3, 4, device=device), None)
        recording.forget()
        out, new = model(torch.ones(1, 1, 4, device=device), old)
        synchronize()
    inside = [known for known in meanings(recording.ops) if known.module is not None]
    assert {known.phase for known in inside} == {"decode"}
    assert [known.role for known in meanings(recording.named("cat"))] == ["kv_cache"] * 2
    caches = [known for known in meanings(recording.placeholders) if known.role == "kv_cache"]
    assert [known.residency for known in caches] == ["pinned"] * 2
    assert out is not None
    assert new is not None


# Roles ---------------------------------------------------------------------------------------


def test_roles_in_a_training_step(device, recording, synchronize):
    model = models.gpt2().to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    given = models.tokens(2, 5)
    for _ in range(2):
        recording.forget()
        optimizer.zero_grad()
        tokens = given.to(device)
        synchronize()
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        synchronize()
    known = by_parameter(n for n in recording.placeholders if n.meta["genie"].role == "weight")
    assert set(known) == {name for name, _ in model.named_parameters()}
    weight = known["transformer.h.0.attn.c_attn.weight"]
    assert (weight.module, weight.module_type) == ("transformer.h.0.attn.c_attn", "Conv1D")
    assert {k.residency for k in known.values()} == {"pinned"}
    inputs = [k for k in meanings(recording.placeholders) if k.role == "input"]
    assert inputs
    assert {k.residency for k in inputs} == {"streamed"}
    assert {k.role for k in meanings(recording.named("embedding"))} == {"embedding"}
    heads = [k for k in meanings(recording.ops) if k.role == "logits" and k.module == "lm_head"]
    assert heads
    assert {k.role for k in meanings(recording.of_phase("backward"))} == {"gradient"}
    assert "optimizer_state" in {k.role for k in meanings(recording.of_phase("optimizer"))}


def test_buffers_and_classes_scores(device, recording, synchronize):
    model = models.CNN().to(device)
    images, labels = torch.ones(2, 3, 8, 8, device=device), torch.tensor([1, 2]).to(device)
    recording.forget()
    nn.functional.cross_entropy(model(images), labels)
    synchronize()
    buffers = [k for k in meanings(recording.placeholders) if k.role == "buffer"]
    assert {name for k in buffers for name in k.parameters} >= {"stem.norm.running_mean"}
    (head,) = meanings(recording.named("addmm"))
    assert (head.role, head.module) == ("logits", "head")
    assert {k.role for k in meanings(recording.named("relu"))} == {"activation"}


def test_values_of_another_device_with_the_same_number_are_not_mixed_up(device, recording):
    other = genie_core.connect("inproc://")
    model = nn.Linear(3, 3).to(device)
    x = [torch.ones(2, 3, device=other) for _ in range(8)]
    model(torch.ones(2, 3, device=device))
    for part in x:
        part.tan_()
    genie_core.synchronize(device)
    genie_core.synchronize(other)
    tangents = recording.named("tan_")
    assert len(tangents) == 8
    assert not any(k.parameters or k.role == "weight" for k in meanings(tangents))


# Modality ------------------------------------------------------------------------------------


def modalities(recording, name):
    return {known.modality for known in meanings(recording.named(name))}


def test_modality_of_text(device, recording, synchronize):
    model = models.gpt2(layers=1).to(device)  # later blocks may be runs of the first one's program
    given = models.tokens(2, 5).to(device)
    recording.forget()
    model(input_ids=given, labels=given).loss.backward()
    synchronize()
    assert modalities(recording, "addmm") == {"text"}
    assert modalities(recording, "native_layer_norm_backward") == {"text"}


def test_modality_of_images_spectrograms_features_and_their_fusion(device, recording, synchronize):
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.see, self.hear = nn.Conv2d(3, 4, 2), nn.Conv1d(5, 4, 2)
            self.features = nn.EmbeddingBag(9, 4)

        def forward(self, image, sound, ids):
            seen = torch.tanh(self.see(image)).mean((2, 3))
            heard = torch.sigmoid(self.hear(sound)).mean(2)
            return torch.erf(seen + heard), torch.exp(self.features(ids))

    model = Both().to(device)
    generator = torch.Generator().manual_seed(0)
    image, sound = (
        torch.randn(2, 3, 6, 6, generator=generator),
        torch.randn(2, 5, 9, generator=generator),
    )
    ids = torch.tensor([[1, 2], [3, 4]])
    for _ in range(2):  # the executor is asked for a convolution's strides, once
        recording.forget()
        model(image.to(device), sound.to(device), ids.to(device))
        synchronize()
    assert modalities(recording, "tanh") == {"vision"}
    assert modalities(recording, "sigmoid") == {"audio"}
    assert modalities(recording, "erf") == {"fusion"}
    assert modalities(recording, "exp") == {"recommendation"}


def test_modality_is_empty_where_it_is_unknown(device, recording, synchronize):
    nn.Sequential(nn.Linear(3, 3), nn.Tanh()).to(device)(torch.ones(2, 3, device=device))
    synchronize()
    assert modalities(recording, "tanh") == {""}


# Annotations ---------------------------------------------------------------------------------


def test_annotations_nest_and_reach_the_backward(device, recording, synchronize):
    layer = nn.Linear(3, 3).to(device)
    x = torch.ones(2, 3, device=device)
    with genie_core.annotate("retrieval", corpus="wiki", top=5):
        y = torch.tanh(layer(x))
        with genie_core.annotate("rank"):
            y = torch.sigmoid(y)
    y.exp().sum().backward()
    synchronize()
    outer = Annotation("retrieval", (("corpus", "wiki"), ("top", "5")))
    found = {op_name(node): node.meta["genie"].annotations for node in recording.ops}
    assert found["tanh"] == found["tanh_backward"] == (outer,)
    assert found["sigmoid"] == found["sigmoid_backward"] == (outer, Annotation("rank"))
    assert found["exp"] == ()


def test_annotations_are_the_threads_own_and_end_with_an_error(device, recording, synchronize):
    x = torch.ones(3, device=device)

    def fail() -> None:
        with genie_core.annotate("mine"):
            thread = threading.Thread(target=x.atan)
            thread.start()
            thread.join()
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    x.asinh()
    synchronize()
    assert all(known.annotations == () for known in meanings(recording.ops))


# What is kept --------------------------------------------------------------------------------


def test_modules_and_optimizers_are_not_kept_alive(device, recording, synchronize):
    from genie_plugins.semantics.origin import roots

    model = nn.Sequential(nn.Linear(3, 3)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(torch.ones(2, 3, device=device)).sum().backward()
    optimizer.step()
    synchronize()
    assert any(root is model for root in roots())
    number = id(model)
    del model, optimizer
    gc.collect()
    assert all(id(root) != number for root in roots())


def test_what_is_remembered_of_values_is_bounded(monkeypatch, device, recording, synchronize):
    from genie_plugins.semantics import earlier

    monkeypatch.setattr(earlier, "MOST", 4)
    kept = [torch.full((3,), float(i), device=device).tan() for i in range(9)]
    synchronize()
    assert len(earlier._known) <= 4
    assert kept
