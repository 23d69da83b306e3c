"""The rules: which calls are what. See `rule.Rule`.

Of an instance, those ops are core that no definition of its family would leave out: attention's two
products and the softmax between them, a norm's arithmetic, an MLP's products and activation.
Projections, masks, rotations, dropout and casts of attention are open; so are batch counters of
batch norm, the cast of a quantized weight, the base of a LoRA layer.

A composed family's core is what the cores of its parts are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .picks import (
    adaptation,
    cells,
    connected,
    each,
    last,
    nothing,
    pooled_head,
    scan_steps,
    sums,
    without_counters,
)
from .rule import DROPOUT, Rule, names

if TYPE_CHECKING:
    from .calls import Call

PRODUCT = names("mm addmm bmm baddbmm matmul linear mv")
SDPA = names(
    "scaled_dot_product_attention _scaled_dot_product_flash_attention_for_cpu"
    " _scaled_dot_product_flash_attention _scaled_dot_product_efficient_attention"
    " _scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math"
    " _native_multi_head_attention"
)
SOFTMAX = names("_softmax softmax _safe_softmax")
SCORES = names("bmm baddbmm matmul") | SOFTMAX | SDPA
ACTIVATION = names("gelu relu silu tanh sigmoid erf hardtanh hardswish elu leaky_relu")
ARITHMETIC = names("add sub mul div pow sqrt rsqrt mean sum var var_mean rsub square norm")
LAYER_NORM = ARITHMETIC | {"native_layer_norm", "layer_norm"}
RMS_NORM = (ARITHMETIC - {"sub", "var", "var_mean"}) | names("_fused_rms_norm linalg_vector_norm")
CONVOLUTION = names("convolution convolution_overrideable _convolution conv1d conv2d")
BATCH_NORM = names(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training batch_norm"
    " cudnn_batch_norm _batch_norm_with_update _batch_norm_no_update"
)
POOL = names("mean adaptive_avg_pool2d _adaptive_avg_pool2d avg_pool2d sum")
FUSED_LAYER = names("_transformer_encoder_layer_fwd")
ROTATION = names("mul neg add sub addcmul")
CELL = PRODUCT | names("add sub mul sigmoid tanh rsub relu lerp addcmul")
UPDATE = names("add mul lerp addcmul addcdiv sqrt div sub pow neg") | names(
    "_foreach_add _foreach_mul _foreach_lerp _foreach_addcmul _foreach_addcdiv _foreach_sqrt"
    " _foreach_div _foreach_sub _foreach_neg _fused_adam _fused_adamw _fused_sgd"
)
CROSS = r"cross|encoder_attn|EncDecAttention|multihead_attn"
NOT_CROSS = rf"^(?!.*({CROSS}))"
CONV_LAYER = (
    r"\w*(ConvLayer|ConvBnAct|ConvBnSilu)|EfficientNet(Expansion|Depthwise)Layer"
    r"|EfficientNetEmbeddings"
)
GATED = r"\w*Gated\w*|(Llama|Mistral|Qwen2|Gemma|StableLm|Olmo2|Cohere|Granite)MLP"
PARALLEL = r"GPTNeoX|Phi|GPTJ|CodeGen"
"""Models whose blocks sum what attention and MLP give, then add that to what the block was given:
the last sum is beyond doubt."""
SQUEEZE_EXCITE = r"\w*(SqueezeExcite(Layer)?|SELayer)"
HEADS = r"\w*(Pooler|ClassificationHead)|pre_classifier"


def is_tied(call: Call) -> bool:
    """Whether the module's weight is an embedding's of the model that called it."""
    root = [c.module for c in call.chain() if c.module is not None][-1]
    weight = getattr(call.module, "weight", None)
    return any(
        "Embedding" in type(module).__name__ and getattr(module, "weight", None) is weight
        for module in root.modules()
    )


def _adds_input(call: Call) -> bool:
    return bool(getattr(call.module, "use_res_connect", getattr(call.module, "use_residual", True)))


def _projection_adds_input(call: Call) -> bool:
    return bool(getattr(getattr(call.module, "projection", None), "apply_dropout", False))


ATTENTION = (
    # A model makes masks and positions itself, or functions do it, for all of its blocks.
    *(
        Rule(family, calls, inside=inside)
        for family in ("attention", "cross_attention", "transformer_block", "decoder")
        for calls, inside in (
            (r"mask|window|alibi|WindowMask|\w*RotaryEmbedding", None),
            (r"\w*(Model|Stack)", "$"),
        )
    ),
    Rule("attention", r"(?!Exponential)\w*Attention", SCORES, path=NOT_CROSS),
    Rule("attention", r"Exponential\w*Attention", names("bmm exp div")),
    Rule("cross_attention", r"\w*Attention", SCORES, path=CROSS),
    Rule("rope", r"rope|\w*Rotation", ROTATION, pick=connected),
    Rule("alibi", r"(Bloom|Mpt|Alibi)Attention", SCORES | names("add")),
    Rule("alibi", "alibi"),
    Rule("alibi", r"(Bloom|Mpt)Model", inside="$"),
    Rule("sliding_window", "window|WindowMask", names("gt lt ge le sub bitwise_and logical_and")),
    Rule("sliding_window", r"(Mistral|Window)Attention"),
    Rule(
        "kv_cache_append", "cache", names("cat index_copy copy index_put slice_scatter"), pick=each
    ),
)

FEED_FORWARD = (
    Rule(
        "mlp", rf"(?!{GATED})\w*(MLP|Mlp|FFN|FeedForward|DenseActDense)", PRODUCT | ACTIVATION, ""
    ),
    Rule(
        "mlp",
        r"(Bert|Roberta|Electra|MPNet)Layer",
        PRODUCT | ACTIVATION,
        r"intermediate|output\.dense",
    ),
    Rule("mlp", r"AlbertLayer", PRODUCT | ACTIVATION, r"ffn|activation"),
    Rule(
        "mlp",
        r"(OPT|Whisper|Bart|XGLM|Pegasus)\w*Layer",
        PRODUCT | ACTIVATION,
        r"fc1|fc2|activation_fn",
    ),
    Rule("mlp", r"Transformer(En|De)coderLayer", PRODUCT | ACTIVATION, r"linear1|linear2|$"),
    Rule("mlp", r"ConvNextLayer", PRODUCT | ACTIVATION, r"pwconv1|pwconv2|act"),
    Rule("mlp", rf"{HEADS}|{SQUEEZE_EXCITE}|\w*(Experts|Attention|Router|LoraLinear)"),
    Rule(
        "mlp",
        r"\w*ForSequenceClassification",
        inside=r"$|\?|pre_classifier|classifier|(al)?bert.pooler",
    ),
    Rule("gated_mlp", GATED, PRODUCT | ACTIVATION | {"mul", "glu"}, ""),
    Rule("gated_mlp", rf"{SQUEEZE_EXCITE}|\w*(Experts|Mixer)"),
    Rule("moe_routing", r"\w*Router", PRODUCT | SOFTMAX | {"topk", "sigmoid"}, ""),
    Rule("moe_routing", r"\w*(MoeBlock|MixtureOfExperts)"),
)

BASIC = (
    Rule("layer_norm", r"(?!T5)(?!\w*RMS)\w*LayerNorm(1P)?", LAYER_NORM),
    Rule("rms_norm", r"\w*RMSNorm|T5LayerNorm|\w*RmsNorm", RMS_NORM),
    Rule("embedding", r"(?!\w*Rotary)\w*Embedding", names("embedding index_select index gather")),
    Rule("embedding", r"EmbeddingBag|BagBySum|\w*RotaryEmbedding|\w*RelativePositionBias"),
    Rule("embedding_bag", r"EmbeddingBag", names("_embedding_bag _embedding_bag_forward_only")),
    Rule("embedding_bag", r"BagBySum", names("embedding sum mean")),
    Rule("tied_logits", r"Linear|\w*Head", PRODUCT, when=is_tied),
    Rule(
        "softmax_cross_entropy",
        "cross_entropy",
        names("_log_softmax log_softmax nll_loss_forward nll_loss2d_forward cross_entropy_loss"),
    ),
    Rule(
        "softmax_cross_entropy",
        "ManualCrossEntropy",
        names("logsumexp _log_softmax gather sub neg log _softmax exp"),
    ),
    Rule("residual", "residual", names("add")),
    Rule(
        "residual",
        rf"(?!{PARALLEL}|Falcon)\w*(Block|Layer|Output|InvertedResidual|ResidualAdd|LayerFF)",
        names("add"),
        pick=sums,
        when=_adds_input,
        open="none",
    ),
    Rule("residual", "MptMLP", names("add"), pick=sums, open="none"),
    Rule("residual", r"T5Layer(Self|Cross)Attention", names("add"), pick=sums, open="none"),
    Rule("residual", r"(Albert|MPNet)Attention", names("add"), pick=sums, open="none"),
    Rule("residual", rf"({PARALLEL})\w*(Layer|Block)", names("add"), pick=last),
    Rule("residual", "Wav2Vec2Encoder", inside="$"),  # positions by a convolution
    Rule("residual", r"FalconDecoderLayer|\w*(MoeBlock|MixtureOfExperts)"),
    *(
        Rule(family, "TransformerEncoderLayer", FUSED_LAYER, pick=nothing)
        for family in ("attention", "layer_norm", "mlp", "residual")
    ),
    Rule("transformer_block", "TransformerEncoderLayer", FUSED_LAYER),
    Rule("dropout", DROPOUT, names("native_dropout bernoulli div mul")),
    Rule("dropout", r"\w*Attention|\w*DropPath"),
    Rule("lora", r"\w*LoraLinear", PRODUCT | {"add"}, "", pick=adaptation),
    Rule("quantized_linear", r"\w*QuantizedLinear", PRODUCT | {"mul"}),
)

VISION = (
    Rule(
        "conv_bn_act",
        CONV_LAYER,
        CONVOLUTION | BATCH_NORM | ACTIVATION | {"mul"},
        "",
        needs=(CONVOLUTION, BATCH_NORM, ACTIVATION),
    ),
    Rule(
        "conv_bn_act",
        "EfficientNetEncoder",
        CONVOLUTION | BATCH_NORM | ACTIVATION,
        "top_",
        needs=(CONVOLUTION, BATCH_NORM, ACTIVATION),
    ),
    Rule("conv_bn_act", r"(ResNetB\w+|RegNet[XY])Layer|BasicBlock|MobileNetV2InvertedResidual"),
    Rule("conv_bn_act", "DepthwiseSeparable"),
    Rule("depthwise_separable", r"DepthwiseSeparable", CONVOLUTION, ""),
    Rule(
        "depthwise_separable", r"MobileNetV2InvertedResidual", CONVOLUTION, r"conv_3x3|reduce_1x1"
    ),
    Rule(
        "depthwise_separable",
        "EfficientNetBlock",
        CONVOLUTION,
        r"depthwise_conv|projection",
    ),
    Rule("depthwise_separable", r"MobileNetV2Stem|ConvNextLayer|SegformerMixMLP"),
    Rule(
        "residual_block",
        r"(ResNetB\w+|RegNet[XY])Layer|BasicBlock|PreactBlock|MobileNetV2InvertedResidual",
        CONVOLUTION | BATCH_NORM | ACTIVATION | {"add"},
        r"(?!shortcut)",
        pick=without_counters,
        when=_adds_input,
    ),
    Rule(
        "residual_block",
        "EfficientNetBlock",
        CONVOLUTION | BATCH_NORM | ACTIVATION | {"add"},
        "",
        pick=without_counters,
        when=_projection_adds_input,
    ),
    Rule("residual_block", r"(ResNetB\w+|RegNet[XY])Layer", inside="shortcut"),
    Rule("residual_block", r"ConvNextLayer"),
    Rule(
        "squeeze_excite",
        SQUEEZE_EXCITE,
        PRODUCT | CONVOLUTION | ACTIVATION | POOL | {"mul", "clamp", "hardsigmoid"},
        "",
    ),
    Rule("patch_embedding", r"(ViT|Clip)Patches|PatchesByUnfold", CONVOLUTION | PRODUCT, ""),
    Rule("patch_embedding", r"(ViT|DeiT|Swin|SegformerOverlap)PatchEmbeddings", CONVOLUTION, ""),
    Rule("patch_embedding", r"CLIPVisionEmbeddings", CONVOLUTION, "patch_embedding"),
    Rule("patch_embedding", r"ConvNextEmbeddings", CONVOLUTION, "patch_embeddings"),
    Rule("patch_embedding", r"ConvNextStage|SegformerSequenceReduction|SwinPatchMerging"),
    Rule(
        "pooling_head",
        r"(ResNet|MobileNetV2|ConvNext|RegNet|EfficientNet|Swin|Segformer)ForImageClassification"
        r"|Wav2Vec2ForSequenceClassification|(?!U)\w*(Net|PoolClassifier)",
        POOL | PRODUCT,
        "",
        needs=(POOL, PRODUCT),
        pick=pooled_head,
        open="between",
    ),
    Rule("pooling_head", r"\w*(Bert|bert|Roberta|ViT|CLIP|Electra|MPNet|DeiT)\w*"),
    Rule("unet_skip", r"UNet", names("cat"), pick=each, open="none"),
)

SEQUENCES = (
    Rule("lstm_cell", r"LSTMCell|\w*LstmCell", CELL, ""),
    Rule("gru_cell", r"GRUCell|\w*GruCell", CELL, ""),
    Rule("rnn_cell", r"RNNCell|ElmanCell", CELL, ""),
    Rule("lstm_cell", "LSTM", CELL, pick=cells),
    Rule("gru_cell", "GRU", CELL, pick=cells),
    Rule("rnn_cell", "RNN", CELL, pick=cells),
    Rule("ssm_scan", r"scan|\w*Scan", names("mul add bmm mm mv sum matmul"), pick=scan_steps),
    Rule("ssm_scan", r"\w*Mixer"),
)

RECOMMENDATION = (
    Rule("feature_interaction", "DotInteraction", names("bmm")),
    Rule("feature_interaction", "FactorizationMachine", names("sum pow mul square sub")),
)

UPDATES = (
    Rule("sgd", "SGD", UPDATE, pick=connected),
    Rule("adam", "Adam", UPDATE, pick=connected),
    Rule("adamw", "AdamW", UPDATE, pick=connected),
)

RULES = ATTENTION + FEED_FORWARD + BASIC + VISION + SEQUENCES + RECOMMENDATION + UPDATES
