"""Unmodified models of transformers, of small size and with random weights."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import nn

from . import inputs
from .entry import (
    EVAL,
    GENERATE,
    HALF,
    HALF_TRAIN,
    TRAIN,
    USUAL,
    Entry,
    Optimizer,
)

SIZE: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
TEXT: dict[str, Any] = {
    "vocab_size": inputs.VOCABULARY,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": None,
    "max_position_embeddings": 64,
}
SPEECH: dict[str, Any] = {
    "num_mel_bins": 16,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_source_positions": 20,
    "max_target_positions": 32,
    "decoder_start_token_id": 1,
    "begin_suppress_tokens": None,
}
GENERATING = (*USUAL, GENERATE)


def make(kind: str, config: str, **options: Any) -> nn.Module:
    """The class `kind` of transformers, with random weights. Raises where it lacks that class."""
    import transformers

    settings = getattr(transformers, config)(**options)
    if hasattr(settings, "use_kernels"):
        settings.use_kernels = False
    model: nn.Module = getattr(transformers, kind)(settings)
    return model


def entry(name: str, kind: str, config: str, batch: Any, *runs: Any, **options: Any) -> Entry:
    """An entry for a class of transformers; runs and an optimizer come before its options."""
    optimizer: Optimizer | None = options.pop("optimizer", None)
    made = functools.partial(make, kind, config, **options)
    more: dict[str, Any] = {"optimizer": optimizer} if optimizer else {}
    return Entry(name, made, batch, runs or GENERATING, **more)


def language(name: str, family: str, *runs: Any, batch: Any = inputs.text, **more: Any) -> Entry:
    """An entry for a decoder with Llama's names for its settings."""
    options = {**SIZE, **TEXT, **more}
    return entry(name, f"{family}ForCausalLM", f"{family}Config", batch, *runs, **options)


def _sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9)


def _adam_one_by_one(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, foreach=False)


GPT2: dict[str, Any] = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
T5: dict[str, Any] = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4}
PAIR = {"decoder_start_token_id": 1, "vocab_size": inputs.VOCABULARY, "eos_token_id": None}

DECODERS = (
    entry("gpt2", "GPT2LMHeadModel", "GPT2Config", inputs.text, **{**TEXT, **GPT2}),
    entry(
        "gpt2 eager",
        "GPT2LMHeadModel",
        "GPT2Config",
        inputs.padded,
        **{**TEXT, **GPT2},
        attn_implementation="eager",
        optimizer=_adam_one_by_one,
    ),
    language("gpt_neox", "GPTNeoX"),
    entry(
        "opt",
        "OPTForCausalLM",
        "OPTConfig",
        inputs.padded,
        **{**SIZE, **TEXT, "ffn_dim": 48, "word_embed_proj_dim": 32},
    ),
    entry(
        "bloom",
        "BloomForCausalLM",
        "BloomConfig",
        inputs.text,
        **{**TEXT, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    ),
    entry(
        "mpt",
        "MptForCausalLM",
        "MptConfig",
        inputs.text,
        **{
            **TEXT,
            "d_model": 32,
            "n_layers": 2,
            "n_heads": 4,
            "max_seq_len": 64,
            "use_cache": True,
        },
    ),
    language("llama", "Llama", num_key_value_heads=2, tie_word_embeddings=True),
    language(
        "llama eager",
        "Llama",
        num_key_value_heads=2,
        attn_implementation="eager",
        batch=inputs.padded,
    ),
    language("mistral", "Mistral", num_key_value_heads=2, sliding_window=4),
    language(
        "mistral eager",
        "Mistral",
        num_key_value_heads=2,
        sliding_window=4,
        attn_implementation="eager",
    ),
    language("qwen2", "Qwen2", HALF_TRAIN, EVAL, GENERATE, num_key_value_heads=2),
    language("gemma", "Gemma", num_key_value_heads=1, head_dim=8),
    language("phi", "Phi"),
    language("falcon", "Falcon", multi_query=True, num_kv_heads=1),
    language("mixtral", "Mixtral", num_key_value_heads=2, num_local_experts=4),
    entry(
        "mamba",
        "MambaForCausalLM",
        "MambaConfig",
        inputs.text,
        **{**TEXT, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2},
    ),
)

ENCODERS = (
    entry(
        "bert",
        "BertForSequenceClassification",
        "BertConfig",
        inputs.classified,
        *USUAL,
        **{**SIZE, **TEXT, "num_labels": 3},
    ),
    entry(
        "bert eager",
        "BertForMaskedLM",
        "BertConfig",
        inputs.padded,
        *USUAL,
        **{**SIZE, **TEXT, "attn_implementation": "eager"},
    ),
    entry(
        "roberta",
        "RobertaForSequenceClassification",
        "RobertaConfig",
        inputs.classified,
        *USUAL,
        **{**SIZE, **TEXT, "num_labels": 3},
    ),
    entry(
        "distilbert",
        "DistilBertForSequenceClassification",
        "DistilBertConfig",
        inputs.classified,
        *USUAL,
        **{**TEXT, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4, "num_labels": 3},
    ),
)

PAIRS = (
    entry(
        "t5",
        "T5ForConditionalGeneration",
        "T5Config",
        inputs.translated,
        **{**T5, **PAIR, "pad_token_id": 0},
    ),
    entry(
        "t5 gated eager",
        "T5ForConditionalGeneration",
        "T5Config",
        inputs.translated,
        TRAIN,
        HALF,
        **{**T5, **PAIR, "pad_token_id": 0, "feed_forward_proj": "gated-gelu"},
        attn_implementation="eager",
    ),
    entry(
        "bart",
        "BartForConditionalGeneration",
        "BartConfig",
        inputs.translated,
        **{**TEXT, **SPEECH, **PAIR, "forced_eos_token_id": None},
    ),
    entry(
        "whisper",
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        inputs.speech,
        **{**TEXT, **SPEECH},
    ),
)

IMAGES = (
    entry(
        "vit",
        "ViTForImageClassification",
        "ViTConfig",
        inputs.pictures,
        *USUAL,
        **{**SIZE, "image_size": 32, "patch_size": 8, "num_labels": 3},
    ),
    entry(
        "clip vision",
        "CLIPVisionModelWithProjection",
        "CLIPVisionConfig",
        lambda count: {"pixel_values": inputs.numbers(count, 3, 32, 32)},
        *USUAL,
        **{**SIZE, "image_size": 32, "patch_size": 8, "projection_dim": 16},
    ),
    entry(
        "resnet",
        "ResNetForImageClassification",
        "ResNetConfig",
        inputs.pictures,
        *USUAL,
        optimizer=_sgd,
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[2, 2],
        layer_type="basic",
        num_labels=3,
    ),
    entry(
        "mobilenet_v2",
        "MobileNetV2ForImageClassification",
        "MobileNetV2Config",
        inputs.pictures,
        *USUAL,
        depth_multiplier=0.25,
        image_size=32,
        num_labels=3,
    ),
    entry(
        "convnext",
        "ConvNextForImageClassification",
        "ConvNextConfig",
        inputs.pictures,
        *USUAL,
        hidden_sizes=[8, 16],
        depths=[1, 2],
        num_stages=2,
        num_labels=3,
    ),
)

ENTRIES = DECODERS + ENCODERS + PAIRS + IMAGES
