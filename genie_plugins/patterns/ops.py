"""What ops are called in the analysis view: one name for all that compute the same."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import attrs

from genie_core.graph import written_arguments

_SAME = {
    "_softmax": "softmax",
    "_safe_softmax": "softmax",
    "_log_softmax": "log_softmax",
    "native_layer_norm": "layer_norm",
    "_fused_rms_norm": "rms_norm",
    "native_group_norm": "group_norm",
    "native_dropout": "dropout",
    "linalg_vector_norm": "norm",
    "nll_loss_forward": "nll_loss",
    "nll_loss2d_forward": "nll_loss",
    "nll_loss_nd": "nll_loss",
    "cross_entropy_loss": "cross_entropy",
    "stack": "cat",
    "divide": "div",
    "multiply": "mul",
    "subtract": "sub",
    "true_divide": "div",
    "grouped_mm": "linear",
    "_grouped_mm": "linear",
    "special_expit": "sigmoid",
}
_SDPA = ("scaled_dot_product", "_scaled_dot_product", "_efficient_attention", "_flash_attention")
_CONVOLUTIONS = {
    "convolution",
    "_convolution",
    "convolution_overrideable",
    "mkldnn_convolution",
    "conv1d",
    "conv2d",
    "conv3d",
    "cudnn_convolution",
    "cudnn_convolution_relu",
}
_BATCH_NORMS = {
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "cudnn_batch_norm",
    "batch_norm",
}
_BAGS = {"_embedding_bag", "_embedding_bag_forward_only", "embedding_bag"}
COPIES = {
    "clone",
    "contiguous",
    "_to_copy",
    "to",
    "alias",
    "detach",
    "lift_fresh",
    "repeat",
    "repeat_interleave",
    "expand",
    "_reshape_alias",
    "_unsafe_view",
    "squeeze",
    "view_as_real_copy",
    "resolve_conj",
    "constant_pad_nd",
}
"""Their results hold what their operands hold, perhaps with a margin."""
ACTIVATIONS = {
    "relu",
    "gelu",
    "silu",
    "leaky_relu",
    "elu",
    "celu",
    "selu",
    "mish",
    "hardswish",
    "relu6",
    "prelu",
    "_prelu_kernel",
    "rrelu_with_noise",
    "softplus",
    "log_sigmoid_forward",
    "hardtanh",
    "softsign",
    "threshold",
}
SQUASHING = {"tanh", "sigmoid", "erf", "hardsigmoid", "hardtanh", "erfc"}
POINTWISE = ACTIVATIONS | SQUASHING | {
    "add", "sub", "mul", "div", "neg", "exp", "log", "log1p", "expm1", "square", "sqrt", "rsqrt",
    "reciprocal", "abs", "clamp", "clamp_min", "clamp_max", "pow", "act", "where", "maximum",
    "minimum", "softplus", "sin", "cos", "masked_fill", "rsub",
}  # fmt: skip
ARITHMETIC = {"add", "sub", "mul", "div", "pow", "rsub", "clamp", "clamp_min", "clamp_max", "lerp"}
"""Their numbers matter to templates; those of other ops are looked up where a guard asks."""


@attrs.frozen(eq=False)
class Op:
    """An op's name; what an FX graph calls. There is one of each name, see `op`."""

    name: str

    def __call__(self, *args: Any) -> Any:
        """Refuse: the analysis view is not for running."""
        raise NotImplementedError(self.name)

    def __repr__(self) -> str:
        return self.name

    @property
    def __name__(self) -> str:
        return self.name


@lru_cache(None)
def op(name: str) -> Op:
    """The one `Op` of a name."""
    return Op(name)


@attrs.frozen
class OpInfo:
    """What the view needs to know of an overload."""

    name: str
    writes: tuple[int | str, ...]
    """Arguments that it writes: positions, or names of those that go by keyword only."""
    copies: bool
    arithmetic: bool


@lru_cache(None)
def info(overload: str) -> OpInfo:
    """What the view needs to know of ``namespace::name.overload``."""
    space, _, rest = overload.partition("::")
    base = rest.partition(".")[0]
    if space == "genie":
        return OpInfo(base, (0,) if base != "alloc" else (), copies=False, arithmetic=False)
    name = _canonical(base)
    return OpInfo(name, _written(overload), name in COPIES, name in ARITHMETIC)


def _canonical(base: str) -> str:
    base = base[:-1] if base.endswith("_") and not base.startswith("__") else base
    if base.startswith(_SDPA):
        return "sdpa"
    if base in _CONVOLUTIONS:
        return "conv"
    if base in _BATCH_NORMS:
        return "batch_norm"
    if base in _BAGS:
        return "embedding_bag"
    return _SAME.get(base, base)


def _written(overload: str) -> tuple[int | str, ...]:
    if overload.startswith("aten::_copy_from"):
        return (1,)
    try:
        return written_arguments(overload)
    except (AttributeError, RuntimeError):
        return ()
