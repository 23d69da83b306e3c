"""A sample of the conformance run: some entries of each family, all their samples, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("expecttest", reason="torch's own test utilities need it")

from conformance.cases import all_cases, examine, names

if TYPE_CHECKING:
    import torch

# Views, in-place, random, reductions, indexing, linear algebra, data-dependent shapes,
# factories, convolutions, normalisation, embedding, attention, integers.
SAMPLE = [
    "__getitem__",
    "__rsub__",
    "add",
    "addmm",
    "all",
    "argmax",
    "as_strided",
    "baddbmm",
    "bernoulli",
    "bincount",
    "bmm",
    "cat",
    "clamp",
    "clone",
    "copysign",
    "cumsum",
    "diagonal",
    "div.floor_rounding",
    "einsum",
    "expand",
    "eye",
    "fill",
    "flip",
    "floor_divide",
    "gather",
    "index_add",
    "index_put",
    "linalg.cholesky",
    "linalg.solve",
    "linspace",
    "logsumexp",
    "masked_fill",
    "masked_select",
    "max.reduction_with_dim",
    "nn.functional.batch_norm",
    "nn.functional.conv2d",
    "nn.functional.dropout",
    "nn.functional.embedding",
    "nn.functional.interpolate.bilinear",
    "nn.functional.layer_norm",
    "nn.functional.pad.reflect",
    "nn.functional.scaled_dot_product_attention",
    "nonzero",
    "normal",
    "permute",
    "randn",
    "repeat_interleave",
    "scatter_add",
    "sort",
    "split",
    "squeeze",
    "sum",
    "take_along_dim",
    "tensor_split",
    "topk",
    "tril",
    "unbind",
    "unique",
    "var",
    "view",
    "where",
]


# Where short floats and complex numbers take ways of their own.
SHORT_AND_COMPLEX = [
    "linalg.lu",
    "mul",
    "native_layer_norm",
    "nn.functional.mish",
    "sgn",
    "sort",
    "tensordot",
]
MODULES = ["nn.BatchNorm2d", "nn.Conv2d", "nn.GRU", "nn.LSTM", "nn.Linear", "nn.TransformerEncoder"]


def examine_sample(kind: str, name: str, device: torch.device, dtypes: list[str]) -> None:
    if name not in names(kind):
        pytest.skip("an entry that this torch's database does not have")
    limit = 12 if kind == "op" else 2
    wanted = name.__eq__
    for case in all_cases(str(device), wanted, limit, kinds=[kind], dtypes=dtypes):
        for verdict in examine(case, lambda way, number: None):
            what = f"{name} {verdict.dtype} {verdict.way}"
            assert verdict.status in ("passed", "excluded"), f"{what}: {verdict.reason}"


@pytest.mark.parametrize("name", SAMPLE)
def test_entry(name: str, device: torch.device) -> None:
    examine_sample("op", name, device, ["float32", "int64"])


@pytest.mark.parametrize("name", SHORT_AND_COMPLEX)
def test_entry_in_other_dtypes(name: str, device: torch.device) -> None:
    examine_sample("op", name, device, ["bfloat16", "complex64", "bool"])


@pytest.mark.parametrize("name", MODULES)
def test_module(name: str, device: torch.device) -> None:
    examine_sample("module", name, device, ["float32"])
