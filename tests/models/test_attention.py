"""Attention on a CPU executor: the kernel that the CPU would choose, so its bits and strides."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch.nn.functional import scaled_dot_product_attention

CPU = torch.device("cpu")
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "dropout": {"dropout_p": 0.5},
    "mask of bools": {"attn_mask": torch.ones(5, 5, dtype=torch.bool).tril()},
    "mask of floats": {"attn_mask": torch.linspace(-1, 1, 25).view(5, 5)},
}


def heads(where: torch.device) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, 3, 5, 8).to(where) for _ in range(3)]


def moved(options: dict[str, Any], where: torch.device) -> dict[str, Any]:
    return {k: v.to(where) if isinstance(v, torch.Tensor) else v for k, v in options.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", OPTIONS)
def test_outputs_and_gradients(options: str, dtype: torch.dtype, device: torch.device) -> None:
    def run(where: torch.device) -> list[Any]:
        inputs = [part.to(dtype).requires_grad_() for part in heads(where)]
        given = moved(OPTIONS[options], where)
        if options == "mask of floats":
            given["attn_mask"] = given["attn_mask"].to(dtype)
        torch.manual_seed(1)
        output = scaled_dot_product_attention(*inputs, **given)
        output.square().sum().backward()
        return [output.detach(), *(part.grad for part in inputs)]

    assert difference(run(CPU), run(device), device.type) == ""


@pytest.mark.parametrize("options", ["plain", "causal", "mask of floats"])
def test_functional_gradients(options: str, device: torch.device) -> None:
    def run(where: torch.device) -> Any:
        def loss(*inputs: torch.Tensor) -> torch.Tensor:
            given = moved(OPTIONS[options], where)
            return scaled_dot_product_attention(*inputs, **given).square().sum()

        return torch.func.grad(loss, argnums=(0, 1, 2))(*heads(where))

    assert difference(run(CPU), run(device), device.type) == ""


def test_a_batch_of_batches(device: torch.device) -> None:
    def run(where: torch.device) -> torch.Tensor:
        inputs = [torch.stack([part, part + 1]) for part in heads(where)]
        return torch.func.vmap(scaled_dot_product_attention)(*inputs)

    try:
        want = run(CPU)
    except RuntimeError as error:
        pytest.skip(f"the CPU cannot: {error}")
    assert difference(want, run(device), device.type) == ""


@pytest.mark.parametrize("mistake", ["rank", "dtype", "width"])
def test_mistakes_are_eagers(mistake: str, device: torch.device) -> None:
    def run(where: torch.device) -> str:
        query, key, value = heads(where)
        key = {"rank": key[0, 0, 0], "dtype": key.double(), "width": key[..., :4]}[mistake]
        with pytest.raises((RuntimeError, IndexError)) as raised:
            scaled_dot_product_attention(query, key, value).cpu()
        return str(raised.value).splitlines()[0].replace(str(device), "cpu")

    assert run(device) == run(CPU)


def test_a_training_step_is_one_round_trip(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no recorder")
    import genie_core

    inputs = [part.requires_grad_() for part in heads(device)]

    def step() -> float:
        loss = scaled_dot_product_attention(*inputs, is_causal=True).square().sum()
        loss.backward()
        return loss.item()

    for _ in range(2):
        step()
    genie_core.reset_stats(device)
    step()
    assert genie_core.stats(device).flushes == {"read": 1}
