"""Mixed precision: torch's policies for accelerators, over the CPU's bits."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn import functional

HALVES = [torch.bfloat16, torch.float16]


@pytest.fixture
def device(device: torch.device) -> torch.device:
    if device.type == "cpu":
        pytest.skip("the CPU has another list of ops")
    if not getattr(torch, device.type).get_amp_supported_dtype():
        pytest.skip("this torch gives its lists of ops to its own backends only")
    return device


@pytest.mark.parametrize("dtype", HALVES)
def test_matrix_products_are_in_the_low_precision(device, dtype):
    x, w, b = torch.randn(4, 8), torch.randn(3, 8), torch.randn(3)
    with torch.autocast(device.type, dtype):
        y = functional.linear(x.to(device), w.to(device), b.to(device))
        z = x.to(device) @ w.to(device).t()
    assert y.dtype == z.dtype == dtype
    assert torch.equal(y.cpu(), functional.linear(x.to(dtype), w.to(dtype), b.to(dtype)))
    assert torch.equal(z.cpu(), x.to(dtype) @ w.to(dtype).t())


@pytest.mark.parametrize("dtype", HALVES)
def test_reductions_and_losses_are_in_float32(device, dtype):
    x = torch.randn(4, 8).to(dtype)
    with torch.autocast(device.type, dtype):
        p = torch.softmax(x.to(device), -1)
        loss = functional.mse_loss(x.to(device), x.to(device) * 2)
        s = x.to(device).sum()
    assert p.dtype == loss.dtype == s.dtype == torch.float32
    assert torch.equal(p.cpu(), torch.softmax(x.float(), -1))
    assert torch.equal(loss.cpu(), functional.mse_loss(x.float(), (x * 2).float()))
    assert torch.equal(s.cpu(), x.sum(dtype=torch.float32))


def test_mixed_arguments_are_promoted(device):
    a, b = torch.randn(3), torch.randn(3).bfloat16()
    with torch.autocast(device.type, torch.bfloat16):
        y = torch.addcmul(a.to(device), b.to(device), b.to(device))
    assert y.dtype == torch.float32
    assert torch.equal(y.cpu(), torch.addcmul(a, b.float(), b.float()))


def test_unsafe_losses_are_refused(device):
    p = torch.full((3,), 0.5, device=device)
    with (
        torch.autocast(device.type, torch.bfloat16),
        pytest.raises(RuntimeError, match="unsafe to autocast"),
    ):
        functional.binary_cross_entropy(p, p)


def test_state_is_the_devices_own(device):
    with torch.autocast(device.type, torch.bfloat16, enabled=False):
        assert not torch.is_autocast_enabled(device.type)
    with torch.autocast(device.type):
        assert torch.is_autocast_enabled(device.type)
        assert not torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype(device.type) == torch.float16
    assert not torch.is_autocast_enabled(device.type)


def step(model, optimizer, scaler, x, y, autocast):
    optimizer.zero_grad()
    with autocast:
        loss = functional.mse_loss(model(x).float(), y)
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    return loss.detach().cpu(), scaler.get_scale()


def test_training_with_a_scaler_is_the_cpus(device):
    torch.manual_seed(0)
    local = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    remote = copy.deepcopy(local).to(device)
    batches = [(torch.randn(4, 8), torch.randn(4, 2)) for _ in range(5)]
    batches[2] = (batches[2][0] * 1e6, batches[2][1] * 1e30)  # overflows: the step is left out
    sides = []
    for model, where in ((local, torch.device("cpu")), (remote, device)):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler(where.type, init_scale=2.0**16, growth_interval=2)
        steps = [
            step(
                model,
                optimizer,
                scaler,
                x.to(where),
                y.to(where),
                torch.autocast(where.type, torch.bfloat16),
            )
            for x, y in batches
        ]
        sides.append((steps, [p.detach().cpu() for p in model.parameters()]))
    (here, ours), (there, theirs) = sides
    assert [scale for _, scale in here] == [scale for _, scale in there]
    assert min(scale for _, scale in there) < 2.0**17, "no step overflowed"
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(here, there, strict=True))
    assert all(map(torch.equal, ours, theirs))
