"""Part two of the demo: an unmodified GPT-2 of `transformers` writes text, greedily."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs
import torch
from sklearn.datasets import load_digits
from transformers import GPT2Config, GPT2LMHeadModel

from genie_plugins.demo.report import Outcome, measured, timed

if TYPE_CHECKING:
    from rich.console import Console

NEW_TOKENS = 64
PROMPT = "optical recognition of handwritten digits"
Model = Callable[..., torch.Tensor]


@attrs.frozen
class Vocabulary:
    """Whole words as tokens: what a random model writes is at least made of words."""

    words: tuple[str, ...]

    def encode(self, text: str) -> torch.Tensor:
        """Token numbers, as a batch of one."""
        return torch.tensor([[self.words.index(word) for word in text.split()]])

    def decode(self, tokens: list[int]) -> str:
        """The words of `tokens`."""
        return " ".join(self.words[token] for token in tokens)


def read_vocabulary() -> Vocabulary:
    """The words of the description that comes with the digits."""
    return Vocabulary(tuple(sorted(set(re.findall(r"[a-z]+", load_digits().DESCR.lower())))))


def make_model(vocabulary: Vocabulary) -> GPT2LMHeadModel:
    """A small GPT-2 with random weights."""
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(vocabulary.words),
        n_layer=6,
        n_head=8,
        n_embd=256,
        n_positions=128,
        tie_word_embeddings=False,
        initializer_range=0.1,
        bos_token_id=None,
        eos_token_id=None,
    )
    return GPT2LMHeadModel(config).eval()


def _generate(model: GPT2LMHeadModel, prompt: torch.Tensor, use_cache: bool) -> list[int]:
    # transformers leaves `generate` untyped for static analysis.
    generate: Model = model.generate
    tokens = generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        use_cache=use_cache,
        pad_token_id=0,
    )
    return [int(token) for token in tokens[0, prompt.shape[1] :].tolist()]


def compare(console: Console, device: torch.device) -> list[Outcome]:
    """Write with and without KV cache on `device` and on the local CPU; compare the tokens."""
    vocabulary = read_vocabulary()
    prompt = vocabulary.encode(PROMPT)
    local = make_model(vocabulary)
    remote = copy.deepcopy(local).to(device)

    def write(use_cache: bool) -> tuple[list[int], Outcome]:
        there, device_s, stats = measured(
            device, lambda: _generate(remote, prompt.to(device), use_cache)
        )
        here, local_s = timed(lambda: _generate(local, prompt, use_cache))
        same = sum(a == b for a, b in zip(there, here, strict=False))
        verdict = f"{same} of {len(here)} tokens"
        problems = () if there == here else (f"only {verdict} are the CPU's",)
        name = "GPT-2, KV cache" if use_cache else "GPT-2, no cache"
        return there, Outcome(name, None, verdict, problems, stats, device_s, local_s)

    tokens, cached = write(use_cache=True)
    console.print(f"GPT-2 writes: {PROMPT} [italic]{vocabulary.decode(tokens)}[/italic]")
    return [cached, write(use_cache=False)[1]]
