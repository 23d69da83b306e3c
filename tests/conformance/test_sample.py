"""A sample of the conformance run: some entries of each family, all their samples, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

pytest.importorskip("expecttest", reason="torch's own test utilities need it")

from conformance.cases import all_cases, database, examine, full_name

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


@pytest.mark.parametrize("name", SAMPLE)
def test_entry(name: str, device: torch.device) -> None:
    cases = all_cases(str(device), lambda full: full == name, max_samples=24)
    if name not in map(full_name, database()):
        pytest.skip("an entry that this torch's database does not have")
    for case in cases:
        verdict = examine(case, lambda number: None)
        assert verdict.status == "passed", f"{name} {case.dtype}: {verdict.reason}"
