"""Models that were held out once, until the matchers were tuned to what they missed in these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from . import further_modules as modules
from . import inputs, sequences
from .attentions import FusedAttention, RotaryAttention
from .blocks import FusedGatedMlp
from .entry import EVAL, USUAL, Entry, Run
from .plain_models import layer, tiny
from .transformers_models import PAIR, SIZE, SPEECH, TEXT, entry, language

GPT: dict[str, Any] = {**TEXT, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}


def _sounds(count: int) -> Mapping[str, Any]:
    return {
        "input_values": inputs.numbers(count, 320),
        "labels": inputs.classified(count)["labels"],
    }


def _classifier(name: str, family: str, **more: Any) -> Entry:
    """An entry for an encoder with BERT's names for its settings."""
    return entry(
        name,
        f"{family}ForSequenceClassification",
        f"{family}Config",
        inputs.classified,
        *USUAL,
        **{**SIZE, **TEXT, "num_labels": 3, **more},
    )


def _images(name: str, family: str, **more: Any) -> Entry:
    """An entry for a classifier of images."""
    kind, config = f"{family}ForImageClassification", f"{family}Config"
    return entry(name, kind, config, inputs.pictures, *USUAL, **{"num_labels": 3, **more})


DECODERS = (
    entry("gptj", "GPTJForCausalLM", "GPTJConfig", inputs.text, **GPT, rotary_dim=4),
    entry("codegen", "CodeGenForCausalLM", "CodeGenConfig", inputs.text, **GPT, rotary_dim=4),
    entry(
        "gpt_bigcode eager",
        "GPTBigCodeForCausalLM",
        "GPTBigCodeConfig",
        inputs.padded,
        **GPT,
        attn_implementation="eager",
    ),
    language("stablelm", "StableLm", num_key_value_heads=2),
    language("olmo2", "Olmo2", num_key_value_heads=2),
    language("cohere eager", "Cohere", num_key_value_heads=2, attn_implementation="eager"),
    language("granite", "Granite", num_key_value_heads=2, residual_multiplier=0.5),
    language("starcoder2", "Starcoder2", num_key_value_heads=2),
    language("nemotron", "Nemotron", num_key_value_heads=2),
    entry(
        "xglm",
        "XGLMForCausalLM",
        "XGLMConfig",
        inputs.padded,
        **{**TEXT, "d_model": 32, "ffn_dim": 48, "num_layers": 2, "attention_heads": 4},
    ),
)

ENCODERS = (
    _classifier("albert", "Albert", embedding_size=16),
    _classifier("electra eager", "Electra", embedding_size=16, attn_implementation="eager"),
    _classifier("mpnet", "MPNet"),
    entry(
        "wav2vec2",
        "Wav2Vec2ForSequenceClassification",
        "Wav2Vec2Config",
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
)

PAIRS = (
    entry(
        "pegasus",
        "PegasusForConditionalGeneration",
        "PegasusConfig",
        inputs.translated,
        **{**TEXT, **SPEECH, **PAIR, "forced_eos_token_id": None},
    ),
)

IMAGES = (
    _images("deit", "DeiT", **SIZE, image_size=32, patch_size=8),
    _images(
        "swin",
        "Swin",
        image_size=32,
        patch_size=2,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    ),
    _images(
        "segformer",
        "Segformer",
        num_encoder_blocks=2,
        depths=[1, 1],
        sr_ratios=[2, 1],
        hidden_sizes=[16, 32],
        patch_sizes=[7, 3],
        strides=[4, 2],
        num_attention_heads=[1, 2],
        mlp_ratios=[2, 2],
    ),
    _images(
        "regnet", "RegNet", embedding_size=8, hidden_sizes=[8, 16], depths=[2, 2], groups_width=4
    ),
    _images(
        "efficientnet",
        "EfficientNet",
        image_size=32,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        kernel_sizes=[3, 5],
        in_channels=[32, 16],
        out_channels=[16, 24],
        strides=[1, 2],
        num_block_repeats=[2, 2],
        expand_ratios=[1, 4],
        hidden_dim=1280,
    ),
)

PLAIN = (
    tiny(
        "decoder: grouped einsum, RMS norm by unit vectors",
        modules.GroupedEinsumAttention,
        modules.NormalizeRmsNorm,
        modules.MatrixMLP,
    ),
    tiny(
        "decoder: shifted exponentials, MLP of matrices",
        modules.ExponentialShiftedAttention,
        None,
        modules.MatrixMLP,
    ),
    tiny(
        "decoder: rotary by roll, RMS norm by unit vectors",
        lambda: RotaryAttention(modules.RollRotation),
        modules.NormalizeRmsNorm,
        FusedGatedMlp,
    ),
    tiny("decoder: MLP of matrices", FusedAttention, lambda: nn.LayerNorm(16), modules.MatrixMLP),
    layer(
        "LSTM cells of eight linear maps",
        lambda: sequences.CellLoop(modules.SeparateLstmCell(), 2),
    ),
)

NEGATIVES = tuple(
    Entry(f"negative: {kind.__name__}", kind, batch, (EVAL, Run("eval", 3)), negative=True)
    for kind, batch in (
        (modules.UnitVectors, inputs.sequences),
        (modules.HaarWavelet, inputs.rows),
        (modules.MovingAverage, inputs.sequences),
        (modules.LowRankProduct, inputs.rows),
    )
)

ENTRIES: tuple[Entry, ...] = DECODERS + ENCODERS + PAIRS + IMAGES + PLAIN + NEGATIVES
