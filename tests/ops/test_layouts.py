"""Tensors that are not strided are refused, by an error that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch


def coo(device: torch.device) -> Any:
    return torch.sparse_coo_tensor(torch.tensor([[0, 1]]), torch.ones(2), (2,)).to(device)


def csr(device: torch.device) -> Any:
    if not hasattr(torch._C.DispatchKey, "SparseCsrPrivateUse1"):
        pytest.skip("this torch has no dispatch key for it, and an error of its own")
    return torch.eye(2).to_sparse_csr().to(device) @ torch.ones(2, device=device)


def embedding(device: torch.device) -> Any:
    layer = torch.nn.Embedding(5, 3, sparse=True).to(device)
    layer(torch.tensor([1, 2], device=device)).sum().backward()


MAKERS: dict[str, Callable[[torch.device], Any]] = {
    "coo": coo,
    "csr": csr,
    "to_sparse": lambda device: torch.eye(2, device=device).to_sparse(),
    "to_sparse_csr": lambda device: torch.eye(2, device=device).to_sparse_csr(),
    "empty": lambda device: torch.empty(2, 2, layout=torch.sparse_coo, device=device),
    "gradient": embedding,
    "mkldnn": lambda device: torch.eye(2, device=device).to_mkldnn(),
    "quantized": lambda device: torch.quantize_per_tensor(
        torch.eye(2, device=device), 0.1, 0, torch.quint8
    ),
}


@pytest.mark.filterwarnings("ignore:Sparse:UserWarning")
@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_layouts_that_the_device_does_not_have(
    maker: Callable[[torch.device], Any], device: torch.device
) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no remote device")
    with pytest.raises(NotImplementedError, match=r"strided tensors only.*to_dense"):
        maker(device)
    assert torch.eye(2, device=device).sum().item() == 2  # the device goes on


@pytest.mark.parametrize("layers", [1, 2])
def test_an_encoder_takes_padded_batches(layers: int, device: torch.device) -> None:
    def work(where: torch.device) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        encoder = torch.nn.TransformerEncoder(layer, layers).to(where).eval()
        x = torch.randn(2, 5, 8).to(where)
        padded = torch.tensor([[False] * 5, [False, False, False, True, True]], device=where)
        with torch.no_grad():
            return encoder(x, src_key_padding_mask=padded).cpu()[~padded.cpu()]

    torch.testing.assert_close(work(device), work(torch.device("cpu")))
