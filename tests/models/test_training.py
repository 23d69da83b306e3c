"""Ordinary training loops: every loss and every weight has the local CPU's bits."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch import nn
from torch.nn import functional

CPU = torch.device("cpu")
STEPS = 5


def mlp() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        nn.Linear(12, 16), nn.LayerNorm(16), nn.GELU(), nn.Dropout(0.2), nn.Linear(16, 5)
    )
    return model, torch.randn(8, 12)


def cnn() -> tuple[nn.Module, torch.Tensor]:
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
    )
    return model, torch.randn(8, 3, 8, 8)


MODELS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {"mlp": mlp, "cnn": cnn}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=1e-3, nesterov=True
    ),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=1e-2),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
}


def train(
    make: Callable[[], tuple[nn.Module, torch.Tensor]],
    optimize: Callable[[Any], torch.optim.Optimizer],
    device: torch.device,
) -> tuple[list[float], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model, inputs = make()
    labels = torch.randint(5, (8,))
    model, inputs, labels = model.to(device), inputs.to(device), labels.to(device)
    optimizer = optimize(model.parameters())
    torch.manual_seed(1)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, dict(model.state_dict())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("model", MODELS)
def test_losses_and_weights(model: str, optimizer: str, device: torch.device) -> None:
    want = train(MODELS[model], OPTIMIZERS[optimizer], CPU)
    got = train(MODELS[model], OPTIMIZERS[optimizer], device)
    assert got[0] == want[0]
    assert difference(want[1], got[1], device.type) == ""


def test_losses_over_tcp(remote_device: torch.device) -> None:
    want = train(cnn, OPTIMIZERS["adam"], CPU)
    got = train(cnn, OPTIMIZERS["adam"], remote_device)
    assert got[0] == want[0]


def test_clipping_and_a_schedule(device: torch.device) -> None:
    def run(where: torch.device) -> list[float]:
        torch.manual_seed(0)
        model = nn.Linear(6, 3).to(where)
        inputs = torch.randn(4, 6).to(where)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        norms = []
        for _ in range(STEPS):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), 0.1).item())
            optimizer.step()
            schedule.step()
        return norms

    assert run(device) == run(CPU)


def test_double_backward(device: torch.device) -> None:
    def run(where: torch.device) -> list[torch.Tensor]:
        torch.manual_seed(0)
        weight = torch.randn(4, 4).to(where).requires_grad_()
        inputs = torch.randn(3, 4).to(where).requires_grad_()
        value = torch.tanh(inputs @ weight).pow(3).sum()
        (slope,) = torch.autograd.grad(value, inputs, create_graph=True)
        slope.square().sum().backward()
        assert weight.grad is not None
        assert inputs.grad is not None
        return [slope.detach(), weight.grad, inputs.grad]

    assert difference(run(CPU), run(device), device.type) == ""


def test_gradients_accumulate(device: torch.device) -> None:
    def run(where: torch.device) -> Any:
        torch.manual_seed(0)
        weight = torch.randn(4, 4).to(where).requires_grad_()
        for scale in (1.0, 0.5, 0.25):
            (torch.sin(weight * scale) @ weight).mean().backward()
        return weight.grad

    assert difference(run(CPU), run(device), device.type) == ""


def test_checkpointed_activations(device: torch.device) -> None:
    from torch.utils.checkpoint import checkpoint, set_device_states

    cuda_only = "device_type" not in inspect.signature(set_device_states).parameters
    if cuda_only and device.type != "cpu":
        pytest.skip("this torch's checkpoint takes every device's random state for CUDA's")

    def run(where: torch.device) -> list[Any]:
        torch.manual_seed(0)
        block = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 6))
        block, inputs = block.to(where), torch.randn(4, 6).to(where).requires_grad_()
        torch.manual_seed(1)
        checkpoint(block, inputs, use_reentrant=False).sum().backward()
        return [inputs.grad, *(parameter.grad for parameter in block.parameters())]

    assert difference(run(CPU), run(device), device.type) == ""
