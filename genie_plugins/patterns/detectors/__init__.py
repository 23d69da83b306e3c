"""Families that no template can spell, in the order in which they are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_plugins.patterns.detectors import (
    attention,
    blocks,
    cells,
    channels,
    feed_forward,
    heads,
    loops,
    losses,
    patches,
    residuals,
    routing,
    updates,
    vision,
    weights,
)

if TYPE_CHECKING:
    from genie_plugins.patterns.found import Detector

FIRST: tuple[tuple[str, Detector], ...] = (
    ("squeeze_excite", channels.excitations),
    ("mlp", feed_forward.wider),
    ("gated_mlp", feed_forward.gated),
)
"""Those by which templates' matches are told to be something else."""

DETECTORS: tuple[tuple[str, Detector], ...] = (
    ("dropout", residuals.dropouts),
    ("sgd", updates.updates("sgd")),
    ("adam", updates.updates("adam")),
    ("adamw", updates.updates("adamw")),
    ("moe_routing", routing.choices),
    ("quantized_linear", weights.quantized),
    ("tied_logits", losses.tied_logits),
    *((name, loops.layers(name)) for name in loops.CELLS),
    ("lstm_cell", cells.lstms),
    ("gru_cell", cells.grus),
    ("rnn_cell", cells.rnns),
    ("cell_loop", loops.loops),
    ("ssm_scan", loops.scans),
    ("cross_attention", attention.kinds),
    ("sliding_window", attention.windows),
    ("alibi", attention.alibi),
    ("kv_cache_append", attention.appends),
    ("residual", residuals.residuals),
    ("patch_embedding", patches.patches),
    ("depthwise_separable", channels.separables),
    ("unet_skip", vision.skips),
    ("residual_block", vision.residual_blocks),
    ("pooling_head", heads.heads),
    ("transformer_block", blocks.blocks),
    ("decoder", blocks.decoders),
    ("encoder_decoder", blocks.encoder_decoders),
)
