"""A text as one loop on the executor: the tokens of `model.generate`, in one round trip."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import genie_core
from genie_core.errors import CaptureError

transformers = pytest.importorskip("transformers", reason="it is no dependency of Genie")

PROMPT = torch.tensor([[11, 4, 190, 7, 33, 33, 2], [5, 5, 120, 9, 1, 77, 150]])
OPTIONS: dict[str, Any] = {"max_new_tokens": 16, "do_sample": False, "pad_token_id": 0}
SIZES = {"vocab_size": 200, "eos_token_id": None, "bos_token_id": 0}


def gpt2() -> Any:
    sizes = {"n_layer": 2, "n_embd": 64, "n_head": 4, **SIZES}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes))


def llama() -> Any:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, **SIZES}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes, **heads))


def qwen2() -> Any:
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, **SIZES}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**sizes, **heads))


@pytest.fixture(params=[gpt2, llama, qwen2], ids=lambda make: make.__name__)
def model(request: pytest.FixtureRequest, device: torch.device) -> Any:
    torch.zeros(1, device=device).cpu()
    torch.manual_seed(0)
    return request.param().eval()


def generate(model: Any, device: torch.device, ids: torch.Tensor = PROMPT, **options: Any) -> Any:
    return torch.remote_accelerator.generate(model.to(device), ids.to(device), **options)


def test_a_greedy_text_is_one_round_trip(model: Any, device: torch.device) -> None:
    truth = model.generate(PROMPT, **OPTIONS)
    before = genie_core.stats(device).round_trips
    found = generate(model, device, **OPTIONS).cpu()
    assert genie_core.stats(device).round_trips == before + 1
    assert torch.equal(found, truth)
    before = genie_core.stats(device).round_trips
    generate(model, device, **OPTIONS).cpu()
    assert genie_core.stats(device).round_trips == before + 1


def test_random_tokens_are_those_of_the_same_seed(model: Any, device: torch.device) -> None:
    options = {**OPTIONS, "do_sample": True, "top_p": 0.9, "temperature": 0.8}
    torch.manual_seed(3)
    truth = model.generate(PROMPT, **options)
    torch.manual_seed(3)
    assert torch.equal(generate(model, device, **options).cpu(), truth)


@pytest.mark.parametrize("rows", [1, 2])
def test_it_ends_where_all_have_ended(model: Any, device: torch.device, rows: int) -> None:
    ids = PROMPT[:rows]
    free = model.generate(ids, **OPTIONS)
    options = {**OPTIONS, "eos_token_id": free[:, 12].tolist()}
    truth = model.generate(ids, **options)
    assert truth.shape[1] < free.shape[1]
    generate(model, device, ids, **options)
    before = genie_core.stats(device).round_trips
    found = generate(model, device, ids, **options)
    assert torch.equal(found.cpu(), truth)
    assert genie_core.stats(device).round_trips == before + 1


def test_padding_on_the_left_is_not_looked_at(model: Any, device: torch.device) -> None:
    mask = torch.ones_like(PROMPT)
    mask[0, :3] = 0
    truth = model.generate(PROMPT, attention_mask=mask, **OPTIONS)
    found = generate(model, device, attention_mask=mask.to(device), **OPTIONS)
    assert torch.equal(found.cpu(), truth)


def test_tokens_come_in_chunks(model: Any, device: torch.device) -> None:
    truth = model.generate(PROMPT, **OPTIONS)
    there = PROMPT.to(device)
    stream = torch.remote_accelerator.stream_tokens(model.to(device), there, chunk=6, **OPTIONS)
    chunks = [chunk.cpu() for chunk in stream]
    assert [chunk.shape[1] for chunk in chunks] == [6, 6, 4]
    assert torch.equal(torch.cat([PROMPT, *chunks], 1), truth)


def test_a_streamer_gets_what_is_returned(model: Any, device: torch.device) -> None:
    class Streamer:
        def __init__(self) -> None:
            self.got: list[torch.Tensor] = []
            self.is_over = False

        def put(self, value: torch.Tensor) -> None:
            self.got.append(value.reshape(1, -1))

        def end(self) -> None:
            self.is_over = True

    streamer = Streamer()
    found = generate(model, device, PROMPT[:1], streamer=streamer, **OPTIONS)
    assert torch.equal(torch.cat(streamer.got, 1), found.cpu())
    assert streamer.is_over


def test_what_the_loop_has_no_room_for_is_refused_by_name(device: torch.device) -> None:
    model = gpt2().eval()
    with pytest.raises(CaptureError, match="num_beams"):
        generate(model, device, num_beams=2)
    model.generation_config.repetition_penalty = 1.5
    with pytest.raises(CaptureError, match="repetition_penalty"):
        generate(model, device)
    with pytest.raises(CaptureError, match="its input is on cpu"):
        torch.remote_accelerator.generate(gpt2(), PROMPT)
