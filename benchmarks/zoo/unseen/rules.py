"""What is what in the models that are held out. See `rule.Rule` and `families`.

Left open, because what a family is does not say it: a projected shortcut's sum, blocks with group
norm or with norms before their convolutions, windows that are no band, looked-up sinusoids, norms
without weight, an MLP with a norm inside, heads of tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..composed import ATTENTION, BLOCKS, CELLS, FEED_FORWARD, NONE, NORM, PARTS, Composition
from ..families import (
    ACTIVATION,
    BATCH_NORM,
    CELL,
    CONVOLUTION,
    CROSS,
    LAYER_NORM,
    NOT_CROSS,
    POOL,
    PRODUCT,
    RMS_NORM,
    ROTATION,
    SCORES,
    SOFTMAX,
    UPDATE,
    is_tied,
)
from ..picks import (
    adaptation,
    connected,
    each,
    pooled_head,
    scan_steps,
    sums,
    without_counters,
)
from ..rule import DROPOUT, Rule, names
from .picks import added_path, conv_bn_acts, pairs, rotations

if TYPE_CHECKING:
    from ..calls import Call

CONV = CONVOLUTION | BATCH_NORM | ACTIVATION | {"hardsigmoid"}
COMPARISON = names("gt lt ge le sub bitwise_and logical_and abs tril triu")
STEPS = names("mul add addcmul bmm mm mv sum matmul")
BLOCK = (
    r"(GPTNeo|MT5|PostNorm|PostNormCross|Relative|Rotary|ShiftedWindow)Block|PreNorm"
    r"|(Qwen3|Gemma2|Phi3|Olmoe|Marian|Speech2Text)DecoderLayer"
    r"|(ModernBert|Marian|Speech2Text|Hubert|Siglip)EncoderLayer"
    r"|(RoFormer|Esm|Dinov2|MobileViTTransformer|AST)Layer"
)
SUMS = (
    rf"{BLOCK}|FalconMambaBlock|ConvNextV2Layer|CNBlock|AttentionResidual|FusedMBConv|MBConv"
    r"|(RoFormer|Esm|MobileViT)(Self)?Output|MT5Layer(FF|SelfAttention|CrossAttention)"
    r"|(MobileViT)?InvertedResidual|Bit(PreActivation)?BottleneckLayer|PreActBasic|DiffusionResnet|SiglipMultiheadAttentionPoolingHead"
)
DECODER = (
    r"(GPTNeo|Qwen3|Gemma2|Phi3|Olmoe|Language|Rotary)Model|(Marian|Speech2Text)Decoder"
    r"|(MT5|Relative)Stack"
)
STACK = (
    r"\w*Encoder|(RoFormer|Esm|ModernBert|Dinov2|AST|Siglip\w*|Hubert|FalconMamba)Model"
    r"|MobileViTTransformer|ShiftedWindows|SimpleViT|PostNormPair|RelativePair|Writer"
)
PAIR = r"(Marian|Speech2Text)Model|MT5ForConditionalGeneration|(Relative|PostNorm)Pair"
SQUEEZE_EXCITE = r"SqueezeExcitation|SqueezeExciteMean"
HEADS = (
    r"\w*(ClassificationHead|PredictionHead\w*|Pooler|PoolingHead|MLPHead|LMHead|HeadTransform)"
    r"|Regressor"
)


def _adds_input(call: Call) -> bool:
    """Whether what is added is what the module was given."""
    module = call.module
    shortcut = getattr(module, "shortcut", getattr(module, "downsample", None))
    if not isinstance(getattr(module, "res_conv", shortcut), nn.Identity | None):
        return False
    return bool(getattr(module, "use_res_connect", getattr(module, "use_residual", True)))


OPEN = tuple(
    Rule(family, calls, inside=inside)
    for family in ("attention", "cross_attention", "transformer_block", "decoder")
    for calls, inside in (
        (
            r"mask|window|\w*(Rotary|SinusoidalPositional)Embedding|Angles|RelativeBias",
            None,
        ),
        (r"\w*(Model|Stack|Pair|Encoder|Decoder)", "$"),
        ("SiglipMultiheadAttentionPoolingHead", None),
    )
)

ATTENTIONS = (
    Rule("attention", r"(?!Multihead)\w*Attention", SCORES, path=NOT_CROSS),
    Rule("cross_attention", r"(?!Multihead)\w*Attention", SCORES, path=CROSS),
    Rule("rope", r"rope|Rotate(EveryTwo|Half)", ROTATION, pick=rotations),
    Rule("rope", "RoFormerSelfAttention", ROTATION, pick=rotations),
    Rule("alibi", r"\w*LinearBiasAttention", SCORES | {"add", "mul"}),
    Rule("sliding_window", "window", COMPARISON),
    Rule("sliding_window", "BandAttention", SCORES | COMPARISON),
    Rule("sliding_window", r"(Gemma2|ModernBert|GPTNeoSelf)Attention|ShiftedWindowBlock"),
    Rule(
        "kv_cache_append",
        r"cache|(Fixed|Growing)Cache",
        names("cat index_copy copy index_put slice_scatter"),
        pick=each,
    ),
)

FEED_FORWARDS = (
    Rule(
        "mlp",
        r"(GPTNeo|Dinov2|AST|Siglip|Channel|Window)M(LP|lp)|TimeMlp|(Relu|TanhGelu)Ffn|Tower"
        r"|HubertFeedForward|MT5DenseActDense",
        PRODUCT | ACTIVATION,
        "",
    ),
    Rule(
        "mlp",
        r"(RoFormer|Esm|MobileViTTransformer)Layer",
        PRODUCT | ACTIVATION,
        r"intermediate|output\.dense",
    ),
    Rule(
        "mlp",
        r"(Marian|Speech2Text)(En|De)coderLayer",
        PRODUCT | ACTIVATION,
        r"$|fc1|fc2|activation_fn",
    ),
    Rule("mlp", rf"ConvNextV2Layer|{HEADS}|{SQUEEZE_EXCITE}|\w*(Experts|Router|Gate)"),
    Rule("mlp", r"DiffusionResnet|LowRankLinear|\w*(Attention|Mixer)|MinimalMamba|StateSpaceLayer"),
    Rule(
        "mlp",
        r"\w*For\w+Classification|MobileNetV3|(Click|Factor)Model",
        inside=r"$|\?|classifier|projector|linear",
    ),
    Rule(
        "gated_mlp",
        r"(Qwen3|Gemma2|Phi3|ModernBert)MLP|MT5DenseGatedActDense|SwiGlu|GeGlu",
        PRODUCT | ACTIVATION | {"mul"},
        "",
    ),
    Rule("gated_mlp", rf"{SQUEEZE_EXCITE}|\w*(Experts|Mixer)|MinimalMamba"),
    Rule(
        "moe_routing",
        r"OlmoeTopKRouter|(Switch|Sigmoid)Gate",
        PRODUCT | SOFTMAX | {"topk", "sigmoid"},
        "",
    ),
    Rule("moe_routing", r"OlmoeSparseMoeBlock|\w*Experts"),
)

BASIC = (
    Rule("layer_norm", r"LayerNorm|ConvNextV2LayerNorm|BertNorm|PowerNorm", LAYER_NORM),
    Rule("layer_norm", "GroupNorm|BitGroupNormActivation|ConvNextV2GRN"),
    Rule("rms_norm", r"(?!\w*Weightless)\w*RMSNorm|MT5LayerNorm|LlamaNorm", RMS_NORM),
    Rule("rms_norm", r"\w*WeightlessRMSNorm|FalconMambaMixer|ConvNextV2GRN"),
    Rule(
        "embedding",
        r"Embedding|\w*WordEmbedding",
        names("embedding index_select index gather"),
        path=r"^(?!.*relative_attention_bias)",
    ),
    Rule(
        "embedding",
        r"EmbeddingBag|MeanOfEmbeddings|\w*(Rotary|Sinusoidal)\w*Embedding|WindowedAttention"
        r"|RelativeBias|MT5Attention",
    ),
    Rule("embedding_bag", "EmbeddingBag", names("_embedding_bag _embedding_bag_forward_only")),
    Rule("embedding_bag", "MeanOfEmbeddings", names("embedding mean")),
    Rule("tied_logits", r"Linear|\w*Head", PRODUCT, when=is_tied),
    Rule(
        "softmax_cross_entropy",
        "cross_entropy|LabelLikelihood",
        names("_log_softmax log_softmax nll_loss_forward nll_loss2d_forward cross_entropy_loss")
        | names("gather neg"),
    ),
    Rule("residual", SUMS, names("add"), pick=sums, when=_adds_input, open="none"),
    Rule("residual", r"HubertEncoder|OlmoeSparseMoeBlock", inside="$"),
    Rule("dropout", DROPOUT, names("native_dropout bernoulli div mul")),
    Rule("dropout", r"\w*Attention|\w*DropPath"),
    Rule("lora", "AdapterLinear", PRODUCT | {"add"}, "", pick=adaptation),
    Rule("lora", "LowRankLinear", PRODUCT | {"add"}, pick=added_path),
    Rule("quantized_linear", r"(Group|Packed|Row)Quantized", PRODUCT | {"mul"}),
)

VISION = (
    Rule(
        "conv_bn_act",
        r"Conv2dNormActivation|(MobileNetV1|MobileViT)ConvLayer",
        CONV,
        "",
        needs=(CONVOLUTION, BATCH_NORM, ACTIVATION),
    ),
    Rule("conv_bn_act", "MBConv", CONV, r"(?!se)", pick=conv_bn_acts),
    Rule("conv_bn_act", r"Bit\w+|PreActResNet|Block"),
    Rule("depthwise_separable", "InvertedResidual", CONVOLUTION, r"depthwise|project"),
    Rule("depthwise_separable", "MBConv", CONVOLUTION, r"conv_dw|conv_pwl"),
    Rule("depthwise_separable", "MobileViTInvertedResidual", CONVOLUTION, r"conv_3x3|reduce_1x1"),
    Rule("depthwise_separable", "MobileNetV1Model", CONVOLUTION, r"layer\.", pick=pairs),
    Rule("depthwise_separable", r"ConvNextV2Layer|CNBlock"),
    Rule(
        "residual_block",
        r"(MobileViT)?InvertedResidual|(Fused)?MBConv",
        CONV | {"add"},
        "",
        pick=without_counters,
        when=_adds_input,
    ),
    Rule(
        "residual_block",
        "PreActBasic",
        CONV | {"add"},
        "",
        pick=without_counters,
        when=_adds_input,
    ),
    Rule("residual_block", r"Bit\w+|DiffusionResnet|CNBlock|ConvNextV2Layer|PreActResNet"),
    Rule(
        "squeeze_excite",
        SQUEEZE_EXCITE,
        PRODUCT | CONVOLUTION | ACTIVATION | POOL | {"mul", "clamp", "hardsigmoid"},
        "",
    ),
    Rule("squeeze_excite", "ConvNextV2GRN"),
    Rule("patch_embedding", r"(Dinov2|AST)PatchEmbeddings|Patchify|PatchEmbed", CONVOLUTION, ""),
    Rule("patch_embedding", "SimplePatches", PRODUCT, ""),
    Rule("patch_embedding", "SiglipVisionEmbeddings", CONVOLUTION, "patch_embedding"),
    Rule("patch_embedding", "ConvNextV2Embeddings", CONVOLUTION, "patch_embeddings"),
    Rule("patch_embedding", r"ConvNextV2Stage|BitEmbeddings|MobileViTLayer"),
    Rule(
        "pooling_head",
        r"(Bit|MobileNetV1|MobileViT|ConvNextV2|Siglip)ForImageClassification"
        r"|HubertForSequenceClassification|MobileNetV3|EfficientNetV2|PreActResNet|ConvNeXt"
        r"|ShiftedWindows|SimpleViT",
        POOL | PRODUCT,
        "",
        needs=(POOL, PRODUCT),
        pick=pooled_head,
        open="between",
    ),
    Rule("pooling_head", r"(RoFormer|Esm|ModernBert|Dinov2|AST)\w*"),
    Rule("unet_skip", r"(Diffusion|Segmentation)Unet", names("cat"), pick=each, open="none"),
)

SEQUENCES = (
    Rule("lstm_cell", r"(Script|Joined)Lstm", CELL, ""),
    Rule("gru_cell", r"(SixMap|Matrix)Gru", CELL, ""),
    Rule("rnn_cell", r"(Joined|Matrix)Rnn", CELL, ""),
    Rule("ssm_scan", r"scan|(Reference|Diagonal)Scan", STEPS, pick=scan_steps),
    Rule("ssm_scan", r"FalconMambaMixer|MinimalMamba|StateSpaceLayer"),
    Rule("feature_interaction", "PairwiseDots", names("bmm")),
    Rule("feature_interaction", "SecondOrder", names("sum pow mul sub")),
)

UPDATES = (
    Rule("sgd", r"SGD|(Plain|Momentum)Sgd", UPDATE, pick=connected),
    Rule("adam", r"Adam|(Paper|InPlace)Adam", UPDATE, pick=connected),
    Rule("adamw", r"AdamW|(Paper|InPlace)AdamW", UPDATE, pick=connected),
)

RULES = OPEN + ATTENTIONS + FEED_FORWARDS + BASIC + VISION + SEQUENCES + UPDATES

COMPOSITIONS = (
    Composition("transformer_block", BLOCK, PARTS, (ATTENTION, FEED_FORWARD, NORM)),
    Composition("decoder", DECODER, BLOCKS, (BLOCKS,), path=r"^(?!.*encoder)", fewest=2),
    Composition("decoder", STACK, NONE, (BLOCKS,)),
    Composition("decoder", r"(MT5|Relative)Stack", NONE, (BLOCKS,), path="encoder"),
    Composition("encoder_decoder", r"\w*Encoder|(MT5|Relative)Stack", NONE, (BLOCKS,)),
    Composition("encoder_decoder", PAIR, BLOCKS, (BLOCKS,), fewest=3),
    Composition("cell_loop", "Steps", CELLS, (CELLS,), fewest=2, chained=True),
)
