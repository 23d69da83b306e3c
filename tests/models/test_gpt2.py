"""An unmodified GPT-2 of transformers: logits to the bit, greedy tokens the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from conformance.compare import difference


def make(attention: str) -> Any:
    transformers = pytest.importorskip("transformers")
    if not transformers.utils.is_torch_available():
        pytest.skip("this transformers does not support this torch")
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=97,
        n_layer=2,
        n_head=2,
        n_embd=32,
        n_positions=64,
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=attention == "eager",
        attn_implementation=attention,
    )
    return transformers.GPT2LMHeadModel(config).eval()


@pytest.fixture(params=["eager", "sdpa"])
def attention(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(attention: str, device: torch.device) -> tuple[Any, Any]:
    local = make(attention)
    return local, copy.deepcopy(local).to(device)


def prompt() -> torch.Tensor:
    return torch.tensor([[5, 11, 3, 7, 42], [1, 2, 90, 4, 8]])


def generate(model: Any, tokens: torch.Tensor, **options: Any) -> torch.Tensor:
    options = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 0, **options}
    result: torch.Tensor = model.generate(tokens, attention_mask=torch.ones_like(tokens), **options)
    return result


def test_forward(pair: tuple[Any, Any], device: torch.device) -> None:
    local, remote = pair
    with torch.no_grad():
        want, got = local(prompt()).logits, remote(prompt().to(device)).logits
    assert difference(want, got, device.type) == ""


def test_forward_with_a_padded_batch(pair: tuple[Any, Any], device: torch.device) -> None:
    local, remote = pair
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    with torch.no_grad():
        want = local(prompt(), attention_mask=mask).logits
        got = remote(prompt().to(device), attention_mask=mask.to(device)).logits
    assert difference(want, got, device.type) == ""


def test_loss_and_gradients(pair: tuple[Any, Any], device: torch.device) -> None:
    results = []
    for model, where in zip(pair, (torch.device("cpu"), device), strict=True):
        loss = model(prompt().to(where), labels=prompt().to(where)).loss
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert difference(results[0], results[1], device.type) == ""


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_tokens(pair: tuple[Any, Any], device: torch.device, use_cache: bool) -> None:
    local, remote = pair
    want = generate(local, prompt(), use_cache=use_cache)
    got = generate(remote, prompt().to(device), use_cache=use_cache)
    assert got.shape == (2, 17)
    assert got.tolist() == want.tolist()


def test_sampled_tokens(pair: tuple[Any, Any], device: torch.device) -> None:
    results = []
    for model, where in zip(pair, (torch.device("cpu"), device), strict=True):
        torch.manual_seed(3)
        results.append(generate(model, prompt().to(where), do_sample=True, top_k=20).tolist())
    assert results[0] == results[1]
