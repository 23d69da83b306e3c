"""Memory figures: what live tensors hold, and what the executor's machine has."""

from __future__ import annotations

import gc
import os

import pytest
import torch


@pytest.fixture
def api(device: torch.device):
    if device.type == "cpu":
        pytest.skip("a rehearsal has no device module")
    gc.collect()
    return getattr(torch, device.type)


def test_allocated_bytes_are_those_of_live_storages(api, device):
    before = api.memory_allocated(device)
    x = torch.ones(1000, device=device)
    view = x[10:20].reshape(2, 5)
    assert api.memory_allocated(device) - before == 4000
    y = x + 1
    assert api.memory_allocated(device) - before == 8000
    del x, y
    assert api.memory_allocated(device) - before == 4000, "the view still holds its storage"
    del view
    assert api.memory_allocated(device) == before


def test_the_peak_is_kept_until_it_is_reset(api, device):
    api.reset_peak_memory_stats(device)
    start = api.memory_allocated(device)
    big = torch.empty(1 << 20, device=device)
    del big
    assert api.max_memory_allocated(device) >= start + (4 << 20)
    api.reset_peak_memory_stats(device)
    assert api.max_memory_allocated(device) == api.memory_allocated(device)


def test_a_storage_that_grows_is_counted_anew(api, device):
    x = torch.empty(10, device=device)
    before = api.memory_allocated(device)
    x.resize_(110)
    assert api.memory_allocated(device) - before == 400
    out = torch.empty(0, device=device)
    torch.add(x, 1, out=out)
    assert api.memory_allocated(device) - before == 400 + 440


def test_statistics_are_in_the_form_of_cudas(api, device):
    x = torch.ones(250, device=device)
    stats = api.memory_stats(device)
    assert stats["allocated_bytes.all.current"] == api.memory_allocated(device) >= x.nbytes
    assert (
        stats["allocated_bytes.all.allocated"] - stats["allocated_bytes.all.freed"]
        == (stats["allocated_bytes.all.current"])
    )
    assert stats["allocation.all.current"] >= 1


def test_free_and_total_are_the_machines(api, device):
    free, total = api.mem_get_info(device)
    if api.get_device_properties(device).type == "cpu":
        assert total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < free < total
    assert api.get_device_properties(device).total_memory == total


def test_empty_cache_keeps_every_value(api, device):
    x = torch.arange(1 << 16, device=device)
    api.empty_cache()
    assert torch.equal(x.cpu(), torch.arange(1 << 16))


@pytest.mark.skipif(
    not hasattr(torch, "accelerator") or not hasattr(torch.accelerator, "memory_allocated"),
    reason="this torch.accelerator has no memory functions",
)
def test_torch_accelerator_gives_the_same_figures(api, device):
    x = torch.ones(5000, device=device)
    index = torch.empty(0, device=device).device.index
    assert torch.accelerator.memory_allocated(index) == api.memory_allocated(index) >= x.nbytes
    assert torch.accelerator.max_memory_allocated(index) == api.max_memory_allocated(index)
    torch.accelerator.reset_peak_memory_stats(index)
    assert api.max_memory_allocated(index) == api.memory_allocated(index)
    torch.accelerator.empty_cache()
    if hasattr(torch.accelerator, "get_memory_info"):
        assert torch.accelerator.get_memory_info(index)[1] == api.mem_get_info(index)[1]
