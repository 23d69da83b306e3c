"""Families that no template can spell, in the order in which they are looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genie_plugins.patterns.detectors import (
    attention,
    blocks,
    loops,
    losses,
    residuals,
    updates,
    vision,
)

if TYPE_CHECKING:
    from genie_plugins.patterns.found import Detector

DETECTORS: tuple[tuple[str, Detector], ...] = (
    ("dropout", residuals.dropouts),
    ("sgd", updates.updates("sgd")),
    ("adam", updates.updates("adam")),
    ("adamw", updates.updates("adamw")),
    ("tied_logits", losses.tied_logits),
    *((name, loops.layers(name)) for name in loops.CELLS),
    ("cell_loop", loops.loops),
    ("ssm_scan", loops.scans),
    ("cross_attention", attention.kinds),
    ("sliding_window", attention.windows),
    ("alibi", attention.alibi),
    ("kv_cache_append", attention.appends),
    ("residual", residuals.residuals),
    ("patch_embedding", vision.patches),
    ("residual_block", vision.residual_blocks),
    ("unet_skip", vision.skips),
    ("pooling_head", vision.heads),
    ("transformer_block", blocks.blocks),
    ("decoder", blocks.decoders),
    ("encoder_decoder", blocks.encoder_decoders),
)
