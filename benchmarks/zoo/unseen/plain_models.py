"""Models of plain torch modules, with spellings of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from .. import inputs
from ..entry import EVAL, HALF, TRAIN, USUAL, Entry, Run
from ..plain_models import to_classes, to_next
from . import (
    adapters,
    mixtures,
    negatives,
    optimizers,
    pairs,
    recommendation,
    recurrent,
    rotary,
    text,
    unets,
    vision,
    windows,
)

MORE = Run("eval", 3)


class LabelLikelihood(nn.Module):
    """Cross-entropy as the mean of chosen log-probabilities."""

    def forward(self, scores: torch.Tensor) -> torch.Tensor:
        labels = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape[:2]) % 7
        chances = torch.log_softmax(scores, dim=-1)
        return -chances.gather(-1, labels.unsqueeze(-1)).mean()


def _written(count: int) -> Mapping[str, Any]:
    return {"x": inputs.tokens(count, 6), "y": inputs.tokens(count, 5).flip(0)}


def _noisy(count: int) -> Mapping[str, Any]:
    return {**inputs.images(count), "time": torch.linspace(3.0, 9.0, count)}


def _categories(count: int) -> Mapping[str, Any]:
    return {"categories": inputs.tokens(count, 3, 4)}


def _language(name: str, *parts: Any, optimizer: Any, loss: Any = to_next, **more: Any) -> Entry:
    return Entry(
        name,
        lambda: text.LanguageModel(*parts, **more),
        inputs.ids,
        USUAL,
        optimizer,
        loss=loss,
    )


def _images(name: str, make: Callable[[], nn.Module], optimizer: Any) -> Entry:
    return Entry(name, make, inputs.images, USUAL, optimizer, loss=to_classes)


LANGUAGE = (
    _language(
        "masked fill of a buffer, written GELU, tied",
        text.SelfAttention,
        nn_layer_norm := (lambda: nn.LayerNorm(text.WIDTH)),
        text.TanhGeluFfn,
        optimizer=optimizers.PaperAdamW,
        tied=True,
        places=True,
    ),
    _language(
        "ALiBi in one row, BERT's first norm",
        text.LinearBiasAttention,
        text.BertNorm,
        text.ReluFfn,
        optimizer=optimizers.InPlaceAdam,
    ),
    _language(
        "ALiBi as a mask, mixture by a switch",
        text.FusedLinearBiasAttention,
        nn_layer_norm,
        mixtures.SwitchExperts,
        optimizer=optimizers.PaperAdam,
        loss=LabelLikelihood(),
    ),
    _language(
        "band of two triangles, mixture by sigmoids",
        text.BandAttention,
        text.LlamaNorm,
        mixtures.SigmoidExperts,
        optimizer=optimizers.InPlaceAdamW,
        tied=True,
    ),
    _language(
        "band of two triangles, GEGLU",
        text.BandAttention,
        text.PowerNorm,
        text.GeGlu,
        optimizer=optimizers.PaperAdam,
        places=True,
    ),
    Entry(
        "rotary by neighbours",
        lambda: rotary.RotaryModel(rotary.RotateEveryTwo),
        inputs.ids,
        USUAL,
        optimizers.InPlaceAdamW,
        loss=LabelLikelihood(),
    ),
    Entry(
        "rotary of half a head",
        lambda: rotary.RotaryModel(rotary.RotateHalf),
        inputs.ids,
        USUAL,
        optimizers.InPlaceAdam,
        loss=to_next,
    ),
    Entry(
        "writer, cache of fixed size",
        lambda: rotary.Writer(rotary.FixedCache),
        inputs.ids,
        (EVAL, HALF),
    ),
    Entry(
        "writer, cache that grows",
        lambda: rotary.Writer(rotary.GrowingCache),
        inputs.ids,
        (EVAL, MORE),
    ),
)

PAIRS = (
    Entry("encoder-decoder, relative", pairs.RelativePair, _written, USUAL, loss=to_next),
    Entry("encoder-decoder, norms after", pairs.PostNormPair, _written, USUAL, loss=to_next),
)

SEQUENCES = (
    Entry(
        "selective scan of the reference",
        mixtures.MinimalMamba,
        inputs.sequences,
        (TRAIN, EVAL, MORE),
        optimizers.PlainSgd,
    ),
    Entry(
        "diagonal state space",
        mixtures.StateSpaceLayer,
        inputs.sequences,
        (TRAIN, EVAL, MORE),
        optimizers.PlainSgd,
    ),
    *(
        Entry(
            f"characters: {name}",
            lambda make=make: recurrent.CharacterModel(*make()),  # type: ignore[misc]
            inputs.ids,
            (TRAIN, EVAL, HALF),
            optimizer,
            loss=to_next,
        )
        for name, make, optimizer in (
            (
                "GRU of six maps, then of matrices",
                lambda: (
                    recurrent.Steps(recurrent.SixMapGru()),
                    recurrent.Steps(recurrent.MatrixGru()),
                ),
                optimizers.MomentumSgd,
            ),
            (
                "GRU of matrices",
                lambda: (recurrent.Steps(recurrent.MatrixGru()),),
                optimizers.PlainSgd,
            ),
            (
                "LSTM as in a script",
                lambda: (recurrent.Steps(recurrent.ScriptLstm(), 2),),
                optimizers.PaperAdam,
            ),
            (
                "LSTM of one product",
                lambda: (recurrent.Steps(recurrent.JoinedLstm(), 2),),
                optimizers.MomentumSgd,
            ),
            (
                "RNN of one map",
                lambda: (recurrent.Steps(recurrent.JoinedRnn()),),
                optimizers.PlainSgd,
            ),
            (
                "RNN of matrices",
                lambda: (recurrent.Steps(recurrent.MatrixRnn()),),
                optimizers.InPlaceAdam,
            ),
        )
    ),
)

PARTS = (
    Entry(
        "LoRA of two kinds",
        lambda: adapters.Regressor(adapters.LowRankLinear, adapters.AdapterLinear),
        inputs.sequences,
        USUAL,
        optimizers.PaperAdamW,
    ),
    Entry(
        "LoRA by names",
        lambda: adapters.Regressor(adapters.AdapterLinear, adapters.AdapterLinear),
        inputs.rows,
        USUAL,
        optimizers.PlainSgd,
    ),
    Entry(
        "quantized in groups and in halves of bytes",
        lambda: adapters.Regressor(adapters.GroupQuantized, adapters.PackedQuantized),
        inputs.rows,
        (TRAIN, EVAL, MORE),
        optimizers.PlainSgd,
    ),
    Entry(
        "quantized by rows",
        lambda: adapters.Regressor(adapters.RowQuantized, adapters.RowQuantized),
        inputs.sequences,
        (EVAL, HALF),
    ),
    Entry(
        "clicks by dots",
        recommendation.ClickModel,
        lambda count: {**inputs.rows(count), **_categories(count)},
        (TRAIN, EVAL, MORE),
        optimizers.InPlaceAdam,
    ),
    Entry(
        "clicks by factors",
        recommendation.FactorModel,
        _categories,
        USUAL,
        optimizers.MomentumSgd,
    ),
)

VISION = (
    _images("MobileNetV3-like", vision.MobileNetV3, optimizers.MomentumSgd),
    _images("EfficientNetV2-like", vision.EfficientNetV2, optimizers.PaperAdamW),
    _images("pre-activation residual network", vision.PreActResNet, optimizers.PlainSgd),
    _images("ConvNeXt-like", vision.ConvNeXt, optimizers.InPlaceAdamW),
    _images("shifted windows", windows.ShiftedWindows, optimizers.PaperAdam),
    _images("simple ViT", windows.SimpleViT, optimizers.PaperAdamW),
    Entry("diffusion U-Net", unets.DiffusionUnet, _noisy, USUAL, optimizers.InPlaceAdam),
    Entry(
        "segmentation U-Net",
        unets.SegmentationUnet,
        inputs.images,
        USUAL,
        optimizers.MomentumSgd,
    ),
)

NEGATIVES = tuple(
    Entry(f"negative: {kind.__name__}", kind, batch, (EVAL, MORE), negative=True)
    for kind, batch in (
        (negatives.BatchScores, inputs.rows),
        (negatives.NearestNeighbours, inputs.sequences),
        (negatives.StyleGram, inputs.images),
        (negatives.PhaseShift, inputs.rows),
        (negatives.Edges, inputs.images),
        (negatives.SpatialPyramid, inputs.images),
        (negatives.KeplersEquation, inputs.rows),
        (negatives.MixtureLikelihood, inputs.rows),
        (negatives.Pixels, inputs.images),
        (negatives.BilinearForm, inputs.rows),
    )
)

ENTRIES: tuple[Entry, ...] = LANGUAGE + PAIRS + SEQUENCES + PARTS + VISION + NEGATIVES
