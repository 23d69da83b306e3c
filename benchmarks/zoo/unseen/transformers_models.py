"""Unmodified models of transformers, of small size and with random weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import inputs
from ..entry import USUAL, Entry
from ..transformers_models import PAIR, SIZE, SPEECH, TEXT, entry, language
from . import optimizers

GROUPED: dict[str, Any] = {"num_key_value_heads": 2, "head_dim": 8}


def _sounds(count: int) -> Mapping[str, Any]:
    labels = inputs.classified(count)["labels"]
    return {"input_values": inputs.numbers(count, 320), "labels": labels}


def _spectra(count: int) -> Mapping[str, Any]:
    labels = inputs.classified(count)["labels"]
    return {"input_values": inputs.numbers(count, 32, 16), "labels": labels}


def _classifier(name: str, family: str, **more: Any) -> Entry:
    options = {**SIZE, **TEXT, "num_labels": 3, **more}
    kind, config = f"{family}ForSequenceClassification", f"{family}Config"
    return entry(name, kind, config, inputs.classified, *USUAL, **options)


def _images(name: str, family: str, **more: Any) -> Entry:
    kind, config = f"{family}ForImageClassification", f"{family}Config"
    return entry(name, kind, config, inputs.pictures, *USUAL, **{"num_labels": 3, **more})


DECODERS = (
    entry(
        "gpt_neo",
        "GPTNeoForCausalLM",
        "GPTNeoConfig",
        inputs.text,
        **{**TEXT, "hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 4},
        attention_types=[[["global", "local"], 1]],
    ),
    language(
        "qwen3", "Qwen3", **GROUPED, tie_word_embeddings=True, optimizer=optimizers.PaperAdamW
    ),
    language("gemma2 eager", "Gemma2", **GROUPED, sliding_window=4, attn_implementation="eager"),
    language("phi3", "Phi3", num_key_value_heads=2, batch=inputs.padded),
    language(
        "olmoe",
        "Olmoe",
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        experts_implementation="batched_mm",
    ),
    entry(
        "falcon_mamba",
        "FalconMambaForCausalLM",
        "FalconMambaConfig",
        inputs.text,
        **{**TEXT, "hidden_size": 16, "state_size": 4, "num_hidden_layers": 2},
    ),
)

ENCODERS = (
    entry(
        "roformer",
        "RoFormerForMaskedLM",
        "RoFormerConfig",
        inputs.padded,
        *USUAL,
        **{**SIZE, **TEXT, "embedding_size": 32},
    ),
    _classifier("modernbert", "ModernBert", local_attention=4, cls_token_id=1, sep_token_id=1),
    entry(
        "esm",
        "EsmForMaskedLM",
        "EsmConfig",
        inputs.padded,
        *USUAL,
        **{**SIZE, **TEXT, "mask_token_id": 2, "position_embedding_type": "rotary"},
    ),
    entry(
        "hubert",
        "HubertForSequenceClassification",
        "HubertConfig",
        _sounds,
        *USUAL,
        **SIZE,
        num_labels=3,
        conv_dim=(16, 16),
        conv_stride=(5, 4),
        conv_kernel=(10, 4),
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        classifier_proj_size=16,
        layerdrop=0.0,
        apply_spec_augment=False,
    ),
    entry(
        "audio spectrogram transformer",
        "ASTForAudioClassification",
        "ASTConfig",
        _spectra,
        *USUAL,
        **SIZE,
        num_labels=3,
        patch_size=8,
        frequency_stride=8,
        time_stride=8,
        max_length=32,
        num_mel_bins=16,
    ),
)

PAIRS = (
    entry(
        "marian",
        "MarianMTModel",
        "MarianConfig",
        inputs.translated,
        **{**TEXT, **SPEECH, **PAIR, "forced_eos_token_id": None},
    ),
    entry(
        "mt5",
        "MT5ForConditionalGeneration",
        "MT5Config",
        inputs.translated,
        **{**PAIR, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4},
        pad_token_id=0,
    ),
    entry(
        "speech_to_text",
        "Speech2TextForConditionalGeneration",
        "Speech2TextConfig",
        lambda count: {**inputs.speech(count), "input_features": inputs.numbers(count, 40, 16)},
        **{**TEXT, **SPEECH, "input_feat_per_channel": 16, "conv_channels": 24},
    ),
)

IMAGES = (
    _images("dinov2", "Dinov2", **SIZE, image_size=32, patch_size=8, mlp_ratio=2),
    _images(
        "siglip",
        "Siglip",
        vision_config={**SIZE, "image_size": 32, "patch_size": 8},
        text_config={**SIZE, "vocab_size": inputs.VOCABULARY},
    ),
    _images(
        "bit",
        "Bit",
        embedding_size=8,
        hidden_sizes=[16, 32],
        depths=[1, 2],
        num_groups=4,
        optimizer=optimizers.MomentumSgd,
    ),
    _images("mobilenet_v1", "MobileNetV1", depth_multiplier=0.25, image_size=32),
    _images(
        "mobilevit",
        "MobileViT",
        image_size=32,
        patch_size=2,
        hidden_sizes=[16, 24, 32],
        neck_hidden_sizes=[8, 8, 12, 16, 16, 16, 32],
        num_attention_heads=2,
        output_stride=32,
    ),
    _images("convnextv2", "ConvNextV2", hidden_sizes=[8, 16], depths=[1, 2], num_stages=2),
)

ENTRIES: tuple[Entry, ...] = DECODERS + ENCODERS + PAIRS + IMAGES
