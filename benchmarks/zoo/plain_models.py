"""Models of plain torch modules, with spellings of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from . import attentions, blocks, inputs, sequences, vision
from .attentions import WIDTH, RotaryAttention
from .blocks import TinyBlock, TinyDecoder
from .entry import EVAL, TRAIN, USUAL, Entry, Optimizer, Run
from .vision import ImageNet

EVAL_WITH_MORE = Run("eval", 3)


def sgd(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """Without momentum, one parameter after another."""
    return torch.optim.SGD(parameters, lr=0.1, foreach=False)


def sgd_together(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """With momentum and weight decay, all parameters at once."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1, foreach=True)


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """All parameters at once."""
    return torch.optim.Adam(parameters, foreach=True)


def adamw_one_by_one(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """One parameter after another."""
    return torch.optim.AdamW(parameters, foreach=False)


def to_next(scores: torch.Tensor) -> torch.Tensor:
    """The loss of a language model, with labels of no meaning."""
    labels = torch.arange(scores.shape[0] * scores.shape[1], device=scores.device) % 7
    return nn.functional.cross_entropy(scores.flatten(0, 1), labels)


def to_classes(scores: torch.Tensor) -> torch.Tensor:
    """The loss of a classifier."""
    labels = torch.arange(scores.shape[0], device=scores.device) % 3
    return nn.functional.cross_entropy(scores, labels)


def layer(name: str, make: Callable[[], nn.Module], batch: Any = inputs.sequences) -> Entry:
    """An entry for a part of a model."""
    return Entry(name, make, batch, (TRAIN, EVAL, EVAL_WITH_MORE), sgd)


def tiny(name: str, *parts: Any, optimizer: Optimizer = adam, runs: Any = USUAL) -> Entry:
    """An entry for a tiny decoder."""
    return Entry(name, lambda: TinyDecoder(*parts), inputs.ids, runs, optimizer, loss=to_next)


def images(name: str, *parts: Callable[[], nn.Module], optimizer: Optimizer = sgd) -> Entry:
    """An entry for a network of these parts."""
    return Entry(
        name,
        lambda: ImageNet(*(make() for make in parts)),
        inputs.images,
        USUAL,
        optimizer,
        loss=to_classes,
    )


SPELLINGS = (
    tiny(
        "decoder: einsum, RMS norm by quotient, SwiGLU",
        attentions.EinsumAttention,
        blocks.SquareRmsNorm,
        blocks.FusedGatedMlp,
    ),
    tiny(
        "decoder: baddbmm, layer norm by hand, GLU",
        attentions.BaddbmmAttention,
        blocks.ManualLayerNorm,
        blocks.GluGatedMlp,
        optimizer=adamw_one_by_one,
    ),
    tiny(
        "decoder: masked_fill, RMS norm by product",
        attentions.MaskedFillAttention,
        blocks.ProductRmsNorm,
        optimizer=sgd_together,
    ),
    tiny(
        "decoder: root scaled, layer norm by variance",
        attentions.RootScaledAttention,
        blocks.VarLayerNorm,
    ),
    tiny(
        "decoder: rotary by complex numbers, RMS norm by length",
        lambda: RotaryAttention(attentions.Rotation),
        blocks.LengthRmsNorm,
        runs=(TRAIN, EVAL),
    ),
    tiny("decoder: rotary by pairs", lambda: RotaryAttention(attentions.InterleavedRotation)),
    tiny("decoder: ALiBi by hand", attentions.AlibiAttention),
    tiny("decoder: window by hand", attentions.WindowAttention),
    tiny("decoder: one key head", attentions.GroupedAttention),
    tiny("decoder: softmax in more bits", attentions.UpcastAttention),
    layer("attention by exponentials", attentions.ExponentialAttention),
    layer(
        "cross attention by hand",
        blocks.CrossBlock,
        lambda count: {
            "x": inputs.numbers(count, 4, WIDTH),
            "context": inputs.numbers(count, 6, WIDTH),
        },
    ),
    Entry(
        "mean pooling of a block",
        blocks.MeanPoolClassifier,
        inputs.ids,
        USUAL,
        adam,
        loss=to_classes,
    ),
)

TORCH = (
    Entry(
        "nn.Transformer",
        lambda: nn.Transformer(WIDTH, 2, 2, 2, 24, dropout=0.1, batch_first=True),
        lambda count: {
            "src": inputs.numbers(count, 6, WIDTH),
            "tgt": inputs.numbers(count, 4, WIDTH),
            "tgt_mask": nn.Transformer.generate_square_subsequent_mask(4),
        },
        (TRAIN, EVAL),
    ),
    layer(
        "nn.TransformerEncoder",
        lambda: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(WIDTH, 2, 24, norm_first=False, batch_first=True), 2
        ),
        lambda count: {"src": inputs.numbers(count, 5, WIDTH)},
    ),
    layer(
        "nn.LSTM",
        lambda: nn.LSTM(WIDTH, WIDTH, num_layers=2, batch_first=True),
        lambda count: {"input": inputs.numbers(count, 5, WIDTH)},
    ),
    layer(
        "nn.GRU",
        lambda: nn.GRU(WIDTH, WIDTH, bidirectional=True, batch_first=True),
        lambda count: {"input": inputs.numbers(count, 4, WIDTH)},
    ),
    layer(
        "nn.RNN",
        lambda: nn.RNN(WIDTH, WIDTH, batch_first=True),
        lambda count: {"input": inputs.numbers(count, 5, WIDTH)},
    ),
)


PARTS = (
    Entry("MLP", blocks.Classifier, inputs.rows, USUAL, sgd),
    layer("LoRA by modules", lambda: blocks.LoraLinear(WIDTH, 12)),
    layer("LoRA, scaled inside", lambda: blocks.MatrixLoraLinear(WIDTH, 12)),
    layer("quantized linear", lambda: blocks.QuantizedLinear(WIDTH, 12)),
    layer("quantized linear, scaled after", lambda: blocks.ScaledAfterQuantizedLinear(WIDTH, 12)),
    tiny("decoder: mixture of experts", attentions.FusedAttention, None, blocks.MixtureOfExperts),
    layer("LSTM cells in a loop", lambda: sequences.CellLoop(nn.LSTMCell(WIDTH, WIDTH), 2)),
    layer("LSTM cells by hand", lambda: sequences.CellLoop(sequences.LstmCell(), 2)),
    layer("GRU cells in a loop", lambda: sequences.CellLoop(nn.GRUCell(WIDTH, WIDTH))),
    layer("GRU cells by hand", lambda: sequences.CellLoop(sequences.GruCell())),
    layer("RNN cells by hand", lambda: sequences.CellLoop(sequences.ElmanCell())),
    layer("selective scan by hand", sequences.TinyMixer),
)


def _clicks(count: int) -> Any:
    return {"x": inputs.numbers(count, WIDTH), "categories": inputs.tokens(count, 3, 4)}


RECOMMENDATION = (
    Entry(
        "DLRM",
        lambda: sequences.Dlrm(nn.EmbeddingBag, sequences.DotInteraction, 6),
        _clicks,
        (TRAIN, EVAL, EVAL_WITH_MORE),
        adam,
    ),
    Entry(
        "DeepFM",
        lambda: sequences.Dlrm(sequences.BagBySum, sequences.FactorizationMachine, WIDTH),
        _clicks,
        USUAL,
        sgd_together,
    ),
)

VISION = (
    images("residual network", lambda: vision.BasicBlock(8), lambda: vision.BasicBlock(8)),
    images(
        "depthwise-separable network",
        lambda: vision.DepthwiseSeparable(8, 8, norm=True),
        lambda: vision.DepthwiseSeparable(8, 8, norm=False),
    ),
    images(
        "squeeze-excite network",
        lambda: vision.SqueezeExcite(8),
        lambda: vision.ConvBnAct(8, 8),
        lambda: vision.ConvSqueezeExcite(8),
        optimizer=sgd_together,
    ),
    Entry("U-Net", vision.UNet, inputs.images, USUAL, sgd),
    layer(
        "patches by reshaping",
        lambda: nn.Sequential(
            vision.PatchesByUnfold(WIDTH),
            TinyBlock(attentions.FusedAttention, lambda: nn.LayerNorm(WIDTH), blocks.FeedForward),
        ),
        lambda count: {"input": inputs.images(count)["x"]},
    ),
)

ENTRIES = SPELLINGS + TORCH + PARTS + RECOMMENDATION + VISION
