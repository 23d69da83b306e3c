"""The rest of the surface: names, generators, pinned memory, what is refused, profiling."""

from __future__ import annotations

import inspect
import threading

import numpy
import pytest
import torch

OLD = not hasattr(torch, "Event")  # before 2.4
# 2.6 takes the times of a renamed device, and gives them out by PrivateUse1's first name only.
LOOKS_FOR_FIRST_NAME = 'self.use_device == "privateuseone"' in inspect.getsource(
    torch.autograd.profiler.profile._parse_kineto_results
)


@pytest.fixture
def api(device: torch.device):
    if device.type == "cpu":
        pytest.skip("a rehearsal has no device module")
    return getattr(torch, device.type)


def test_tensors_modules_and_storages_have_the_devices_method(api, device):
    x = torch.arange(3.0)
    there = x.remote_accelerator()
    assert there.is_remote_accelerator
    assert there.device.type == device.type
    module = torch.nn.Linear(2, 2).remote_accelerator()
    assert {p.device.type for p in module.parameters()} == {device.type}
    assert torch.equal(there.cpu(), x)


def test_a_device_says_what_it_is(api, device):
    properties = api.get_device_properties(device)
    assert properties.url in api.get_device_name(device) == properties.name
    assert api.get_device_capability(device) == (0, 0)
    assert api.is_bf16_supported()
    if hasattr(getattr(torch, "accelerator", None), "get_device_capability"):
        index = torch.empty(0, device=device).device.index
        assert torch.bfloat16 in torch.accelerator.get_device_capability(index)["supported_dtypes"]


def test_names_that_nobody_gives_are_attribute_errors(api):
    assert not hasattr(api, "no_such_thing")
    assert {"memory_allocated", "device_count"} <= set(dir(api))


def test_device_contexts_nest(api, device):
    with api.device(0), torch.device(device):
        assert torch.ones(1).device.type == device.type
        assert api.current_device() == 0
    assert torch.ones(1).device.type == "cpu"


def test_generators(api, device):
    first = torch.Generator(device).manual_seed(5)
    second = torch.Generator(device)
    second.set_state(first.get_state())
    assert first.initial_seed() == 5
    a = torch.rand(4, device=device, generator=first)
    assert torch.equal(a.cpu(), torch.rand(4, device=device, generator=second).cpu())
    assert torch.equal(a.cpu(), torch.rand(4, generator=torch.Generator().manual_seed(5)))


def test_fork_rng_puts_the_state_back(api, device):
    torch.manual_seed(1)
    with torch.random.fork_rng([0], device_type=device.type):
        torch.rand(9, device=device)
    here = torch.rand(3, device=device)
    torch.manual_seed(1)
    assert torch.equal(here.cpu(), torch.rand(3, device=device).cpu())


@pytest.mark.skipif(OLD, reason="this torch pins memory for CUDA only")
def test_pinned_memory_says_that_it_is(api):
    plain = torch.arange(10.0)
    pinned = plain.pin_memory()
    assert pinned.is_pinned()
    assert pinned[3:].is_pinned()
    assert not plain.is_pinned()
    assert torch.equal(pinned, plain)
    assert pinned.pin_memory() is pinned
    assert torch.empty(3, pin_memory=True).is_pinned()


EXPORTS = {
    "__dlpack__": lambda x: x.__dlpack__(),
    "to_dlpack": torch.utils.dlpack.to_dlpack,
    "numpy.from_dlpack": numpy.from_dlpack,
    "torch.from_dlpack": torch.from_dlpack,
    "numpy": lambda x: x.numpy(),
    "numpy.asarray": numpy.asarray,
}


@pytest.mark.parametrize("name", EXPORTS)
def test_memory_that_is_not_here_is_not_handed_out(api, device, name):
    x = torch.arange(3.0, device=device)
    with pytest.raises((BufferError, TypeError, ValueError, RuntimeError)) as caught:
        EXPORTS[name](x)
    assert "cpu()" in str(caught.value) or "device" in str(caught.value)
    assert torch.equal(torch.from_dlpack(x.cpu()), torch.arange(3.0))


def test_threads_share_a_device(device):
    failures = []

    def work(number):
        try:
            x = torch.full((16, 16), float(number), device=device)
            for _ in range(50):
                x = (x @ x).clamp(max=number + 1.0) / 2 + number
                if x[0, 0].item() != x[1, 1].item():
                    raise AssertionError("values of two threads were mixed")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures


@pytest.mark.skipif(OLD, reason="this torch's profiler takes no other device's time")
def test_the_legacy_profiler_tells_the_executors_time(api, device):
    x = torch.ones(200, 200, device=device)
    (x @ x).cpu()
    with torch.autograd.profiler.profile(use_device=device.type, use_kineto=False) as profile:
        for _ in range(3):
            x = x @ x / 200
        x.sum().item()
    if LOOKS_FOR_FIRST_NAME:
        profile.use_device = "privateuseone"
    rows = {row.key: row for row in profile.key_averages()}
    total = {name: getattr(row, "device_time_total", 0) for name, row in rows.items()}
    assert rows["aten::mm"].count == 3
    assert "genie::timestamp" not in rows
    assert total["aten::mm"] > 0


@pytest.mark.skipif(OLD, reason="this torch's profiler has no such activity")
def test_the_profiler_takes_the_devices_activity(api, device):
    from torch.profiler import ProfilerActivity, profile

    x = torch.ones(20, 20, device=device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.PrivateUse1]) as taken:
        (x @ x).sum().item()
    assert "aten::mm" in {row.key for row in taken.key_averages()}
