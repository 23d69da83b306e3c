"""Calls whose meta kernel promises other shapes or strides than the real kernel gives.

For these the executor is asked at a signature's first sight and believed from then on. Found by
the conformance run, which compares every stride.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_flatten

from genie_core.graph import operator, parameters

if TYPE_CHECKING:
    from genie_core._native import OpCall

_NAMES = frozenset(
    {
        # strides in another order
        "aten::_fft_r2c",
        "aten::_fft_c2c",
        "aten::_fft_c2r",
        "aten::_scaled_dot_product_flash_attention_backward",
        "aten::_linalg_eigh",
        "aten::_linalg_svd",
        "aten::linalg_eig",
        "aten::linalg_lstsq",
        "aten::convolution",
        "aten::convolution_backward",
        "aten::max_unpool2d",
        "aten::max_unpool3d",
        "aten::nonzero_static",
        "aten::roll",
        "aten::rot90",
        "aten::unfold_backward",
        # a 0-dim tensor's dtype counts for more
        "aten::block_diag",
        # statistics that are empty in evaluation
        "aten::_native_batch_norm_legit",
        "aten::_native_batch_norm_legit_no_training",
        "aten::native_batch_norm",
        # offsets that are empty without padding
        "aten::_embedding_bag",
        "aten::_embedding_bag_forward_only",
        # a workspace of the kernel's own size, or none
        "aten::mkldnn_rnn_layer",
        "aten::mkldnn_rnn_layer_backward",
        "genie::flash_attention",
        "genie::lstm_layer_for_training",
        # a target mask of another shape
        "aten::multilabel_margin_loss_forward",
        # weights that are undefined where nobody needs them
        "aten::_native_multi_head_attention",
        # composite kernels that would read a meta tensor's memory
        "aten::_saturate_weight_to_fp16",
        "aten::choose_qparams_optimized",
        "aten::fbgemm_linear_fp16_weight",
        "aten::fbgemm_linear_fp16_weight_fp32_activation",
        "aten::fbgemm_linear_int8_weight",
        "aten::fbgemm_linear_int8_weight_fp32_activation",
        "aten::fbgemm_linear_quantize_weight",
        "aten::fbgemm_pack_gemm_matrix_fp16",
        "aten::fbgemm_pack_quantized_matrix",
    }
)
# These keep the shape of an `out` that has as many elements; their meta kernels make it flat.
_KEEP_SHAPE = frozenset(
    {
        "aten::arange.out",
        "aten::arange.start_out",
        "aten::range.out",
        "aten::range.out_",
        "aten::linspace.out",
        "aten::logspace.out",
    }
)
# Statistics that the CPU keeps in the short dtype, other devices in float.
_SHORT_NAMES = frozenset(
    {"aten::native_layer_norm", "aten::native_group_norm", "aten::_batch_norm_with_update"}
)
_SHORT = (torch.bfloat16, torch.float16)
# Meta kernels of 2.1 let these write what the operand's dtype cannot hold.
_IN_PLACE_ARITHMETIC = frozenset(
    f"aten::{op}_.{other}" for op in ("add", "sub", "mul", "div") for other in ("Tensor", "Scalar")
)


def _is_odd(tensor: torch.Tensor) -> bool:
    """Whether its strides are not a fresh tensor's, be it where a dimension has one place."""
    return tensor.stride() != torch.empty(tensor.shape, device="meta").stride()


_BY_TENSOR: dict[str, Callable[[torch.Tensor], bool]] = {
    # strides in another order
    "aten::index.Tensor": lambda tensor: not tensor.is_contiguous(),
    "aten::abs": lambda tensor: tensor.is_complex() and not tensor.is_contiguous(),
    "aten::angle": lambda tensor: tensor.is_complex() and not tensor.is_contiguous(),
    "aten::_conj_physical": _is_odd,  # in one release like its input
    "aten::native_layer_norm": _is_odd,
    "aten::pow.Scalar": _is_odd,
    "aten::sort": _is_odd,
    "aten::sort.stable": _is_odd,
    # a bool to the power of a bool
    "aten::pow.Tensor_Scalar": lambda tensor: tensor.dtype == torch.bool,
}


def is_unreliable(call: OpCall) -> bool:
    """Whether the meta kernel of this call is not to be believed."""
    base, _, _ = call.name.partition(".")
    if base in _NAMES or call.name in _KEEP_SHAPE or _lacks_a_tensor(call):
        return True
    if call.name in _IN_PLACE_ARITHMETIC and _would_promote(call):
        return True
    if call.name in _BY_TENSOR and _BY_TENSOR[call.name](_first_tensor(call)):
        return True
    op = operator(call.name)
    pointwise = torch.Tag.pointwise in op.tags and not op._schema.is_mutable
    if base not in _SHORT_NAMES and not pointwise:
        return False
    tensors = [leaf for leaf in tree_flatten(call.arguments())[0] if isinstance(leaf, torch.Tensor)]
    if not any(tensor.dtype in _SHORT for tensor in tensors):
        return False
    return not pointwise or any(map(_is_expanded, tensors))


def _first_tensor(call: OpCall) -> torch.Tensor:
    return next(arg for arg in call.arguments()[0] if isinstance(arg, torch.Tensor))


def _would_promote(call: OpCall) -> bool:
    """Whether the result has a dtype that the operand cannot be given: an error of the kernel's."""
    operand, other = call.arguments()[0][:2]
    result = torch.result_type(operand, other)
    if call.name.startswith("aten::div_") and torch.can_cast(result, torch.int64):
        result = torch.float32  # a quotient of integers
    return not torch.can_cast(result, operand.dtype)


def has_out(name: str) -> bool:
    """Whether the overload takes an `out=`, by whatever name."""
    arguments = operator(name)._schema.arguments
    return any(a.kwarg_only and a.alias_info and a.alias_info.is_write for a in arguments)


def _is_expanded(tensor: Any) -> bool:
    """Whether elements share a place: meta kernels in Python lose the strides that follow.

    They compute short floats in float, and the conversion lays an expanded operand out anew.
    """
    steps = zip(tensor.stride(), tensor.shape, strict=True)
    return any(step == 0 for step, size in steps if size > 1)


def _lacks_a_tensor(call: OpCall) -> bool:
    """Whether a tensor is undefined that the op takes: what comes of it is the kernel's affair."""
    args, _ = call.arguments()
    kinds = (kind for _, keyword_only, kind in parameters(call.name) if not keyword_only)
    return any(a is None and kind == "Tensor" for a, kind in zip(args, kinds, strict=False))
