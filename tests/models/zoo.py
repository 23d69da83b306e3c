"""Unmodified models at small size with random weights: what Genie is measured with.

One entry is one model: how to make it on the CPU, what goes in, and whether it generates. `runs`
says what is done with it. No entry knows of a device.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs
import torch
from torch import nn

Batch = Mapping[str, torch.Tensor]
VOCABULARY = 67
PAD, START = 0, 1


@attrs.frozen
class Entry:
    """A model of the zoo.

    `make` builds it on the CPU, with whatever seed is set; `batch` gives the keyword arguments of
    a forward, labels among them where the model computes a loss itself; `generate` gives those of
    `generate`, and is None where there is none; `settle` is done to the model before that.
    """

    name: str
    library: str
    make: Callable[[], nn.Module]
    batch: Callable[[], Batch]
    generate: Callable[[], Mapping[str, Any]] | None = None
    settle: Callable[[Any], object] | None = None

    def __str__(self) -> str:
        return self.name


def missing(library: str) -> str:
    """Why models of this library cannot be made here; "" if they can."""
    if library == "torch":
        return ""
    try:
        import transformers
    except ImportError as error:
        return f"needs transformers ({error})"
    if not transformers.utils.is_torch_available():
        return "this transformers does not support this torch"
    return ""


def tokens(*shape: int, low: int = 2) -> torch.Tensor:
    """Return token ids, none of them special."""
    return torch.randint(low, VOCABULARY, shape, generator=torch.Generator().manual_seed(4))


def numbers(*shape: int) -> torch.Tensor:
    """Return normally distributed floats."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5))


# --- transformers ----------------------------------------------------------------------------


def pretrained(kind: str, config: str, **options: Any) -> nn.Module:
    """Make the class `kind` of transformers with random weights."""
    import transformers

    model: nn.Module = getattr(transformers, kind)(getattr(transformers, config)(**options))
    return model


SPECIAL = {"pad_token_id": PAD, "bos_token_id": START, "eos_token_id": None}
GREEDY = {
    "max_new_tokens": 8,
    "do_sample": False,
    "pad_token_id": PAD,
    "return_dict_in_generate": True,
    "output_logits": True,
}


def text(*, labels: bool = True) -> Batch:
    """Two sentences, one of them padded on the left."""
    ids = tokens(2, 9)
    mask = torch.ones_like(ids)
    ids[1, :3], mask[1, :3] = PAD, 0
    batch = {"input_ids": ids, "attention_mask": mask}
    return {**batch, "labels": ids.masked_fill(mask == 0, -100)} if labels else batch


def prompt() -> Mapping[str, Any]:
    """Return what a decoder goes on from."""
    return {**text(labels=False), **GREEDY}


def settle_experts(model: Any) -> None:
    """Take the experts' code that transformers decodes with on whatever is no CPU, everywhere."""
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("batched_mm")


def classified() -> Batch:
    """Text with a class for each sentence."""
    return {**text(labels=False), "labels": torch.tensor([2, 0])}


def translated() -> Batch:
    """Text and what it becomes."""
    return {**text(labels=False), "labels": tokens(2, 7).flip(0)}


def pictures() -> Batch:
    """Return two images and their classes."""
    return {"pixel_values": numbers(2, 3, 32, 32), "labels": torch.tensor([1, 3])}


def speech(*, labels: bool = True) -> Batch:
    """Return mel spectrograms, and what was said."""
    batch = {"input_features": numbers(2, 16, 40)}
    return {**batch, "labels": tokens(2, 6)} if labels else batch


def transformer(
    name: str,
    kind: str,
    config: str,
    batch: Callable[[], Batch],
    generate: Callable[[], Mapping[str, Any]] | None = None,
    settle: Callable[[Any], object] | None = None,
    **options: Any,
) -> Entry:
    """Return an entry for a class of transformers."""
    make = functools.partial(pretrained, kind, config, **options)
    return Entry(name, "transformers", make, batch, generate, settle)


TEXT: dict[str, Any] = {"vocab_size": VOCABULARY, **SPECIAL}
LLAMA: dict[str, Any] = {
    **TEXT,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "attention_dropout": 0.1,
}

TRANSFORMERS = (
    transformer(
        "gpt2",
        "GPT2LMHeadModel",
        "GPT2Config",
        text,
        prompt,
        **TEXT,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
    ),
    transformer("llama", "LlamaForCausalLM", "LlamaConfig", text, prompt, **LLAMA),
    transformer(
        "bert",
        "BertForSequenceClassification",
        "BertConfig",
        classified,
        vocab_size=VOCABULARY,
        pad_token_id=PAD,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        num_labels=3,
    ),
    transformer(
        "t5",
        "T5ForConditionalGeneration",
        "T5Config",
        translated,
        prompt,
        vocab_size=VOCABULARY,
        pad_token_id=PAD,
        eos_token_id=None,
        decoder_start_token_id=START,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
    ),
    transformer(
        "vit",
        "ViTForImageClassification",
        "ViTConfig",
        pictures,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.1,
        image_size=32,
        patch_size=8,
        num_labels=4,
    ),
    transformer(
        "resnet",
        "ResNetForImageClassification",
        "ResNetConfig",
        pictures,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[2, 2],
        layer_type="basic",
        num_labels=4,
    ),
    transformer(
        "whisper",
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        speech,
        lambda: {**speech(labels=False), **GREEDY},
        **TEXT,
        decoder_start_token_id=START,
        begin_suppress_tokens=None,
        num_mel_bins=16,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_source_positions=20,
        max_target_positions=32,
        dropout=0.1,
        init_std=0.5,  # with smaller weights it repeats its input
    ),
    transformer(
        "mixtral",
        "MixtralForCausalLM",
        "MixtralConfig",
        text,
        lambda: {**prompt(), "output_router_logits": False},  # transformers' loss takes no cache
        settle_experts,
        **LLAMA,
        num_local_experts=4,
        num_experts_per_tok=2,
        output_router_logits=True,
    ),
    transformer(
        "mamba",
        "MambaForCausalLM",
        "MambaConfig",
        text,
        prompt,
        **TEXT,
        hidden_size=16,
        state_size=4,
        num_hidden_layers=2,
        conv_kernel=4,
    ),
)


# --- torch's own -----------------------------------------------------------------------------


def sequence() -> Batch:
    """Return a batch of two sequences, batch first."""
    return {"input": numbers(2, 5, 12)}


def source_and_target() -> Batch:
    """Return what an encoder and what a decoder reads, with the decoder's causal mask."""
    return {
        "src": numbers(2, 6, 16),
        "tgt": numbers(2, 4, 16).flip(0),
        "tgt_mask": nn.Transformer.generate_square_subsequent_mask(4),
    }


def recurrent(name: str, kind: type[nn.RNNBase]) -> Entry:
    """Return an entry for one of torch's recurrent modules, with all that makes them differ."""
    make = functools.partial(
        kind, 12, 10, num_layers=2, batch_first=True, dropout=0.2, bidirectional=True
    )
    return Entry(name, "torch", make, sequence)


TORCH = (
    recurrent("rnn", nn.RNN),
    recurrent("lstm", nn.LSTM),
    recurrent("gru", nn.GRU),
    Entry(
        "transformer",
        "torch",
        lambda: nn.Transformer(16, 4, 2, 2, 24, dropout=0.1, batch_first=True),
        source_and_target,
    ),
)

ZOO: tuple[Entry, ...] = TRANSFORMERS + TORCH


def entries(names: Iterable[str] = ()) -> list[Entry]:
    """Return the entries of these names, in the zoo's order; all of them for none."""
    wanted = set(names)
    unknown = wanted - {entry.name for entry in ZOO}
    if unknown:
        raise ValueError(f"not in the zoo: {', '.join(sorted(unknown))}")
    return [entry for entry in ZOO if not wanted or entry.name in wanted]
