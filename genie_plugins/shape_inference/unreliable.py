"""Ops whose meta kernel promises other shapes or strides than the real kernel gives.

For these the executor is asked at a signature's first sight and believed from then on. Found by
the conformance run, which compares every stride.
"""

from __future__ import annotations

_NAMES = frozenset(
    {
        # strides in another order
        "aten::_fft_r2c",
        "aten::_fft_c2c",
        "aten::_fft_c2r",
        "aten::_linalg_eigh",
        "aten::_linalg_svd",
        "aten::linalg_eig",
        "aten::linalg_lstsq",
        "aten::convolution",
        "aten::convolution_backward",
        "aten::max_unpool2d",
        "aten::max_unpool3d",
        "aten::nonzero_static",
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
        "genie::lstm_layer_for_training",
    }
)


def is_unreliable(name: str) -> bool:
    """Whether the meta kernel of `name` (with overload) is not to be believed."""
    base, _, overload = name.partition(".")
    return base in _NAMES and "out" not in overload
