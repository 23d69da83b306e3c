"""Streams are one and ordered; events tell the executor's time."""

from __future__ import annotations

import pytest
import torch

pytestmark = pytest.mark.skipif(
    not hasattr(torch, "Event"), reason="this torch has streams and events for its own devices only"
)
timed = pytest.mark.skipif(
    not hasattr(getattr(torch, "Event", None), "elapsed_time"),
    reason="this torch's generic events have no time",
)


@pytest.fixture
def api(device: torch.device):
    if device.type == "cpu":
        pytest.skip("a rehearsal has no device module")
    return getattr(torch, device.type)


@timed
def test_events_measure_the_work_between_them(api, device):
    x = torch.ones(300, 300, device=device)
    start, middle, end = (api.Event(enable_timing=True) for _ in range(3))
    start.record()
    middle.record()
    for _ in range(20):
        x = x @ x / 300
    end.record()
    end.synchronize()
    assert end.query()
    assert 0 <= start.elapsed_time(middle) < start.elapsed_time(end)
    assert start.elapsed_time(end) == pytest.approx(
        start.elapsed_time(middle) + middle.elapsed_time(end), abs=1e-6
    )


@timed
def test_recording_an_event_sends_nothing(api, device):
    import genie_core

    event = api.Event(enable_timing=True)
    event.record()
    event.synchronize()  # its op is known now
    before = genie_core.stats(device)
    x = torch.ones(3, device=device)
    event.record()
    after = genie_core.stats(device)
    assert after.round_trips == before.round_trips
    event.synchronize()
    assert x.sum().item() == 3


@timed
def test_events_without_timing_refuse_to_be_compared(api):
    first, second = api.Event(), api.Event()
    first.record()
    second.record()
    second.synchronize()
    with pytest.raises((RuntimeError, ValueError)):
        first.elapsed_time(second)
    with pytest.raises(ValueError, match="between processes"):
        api.Event(interprocess=True)


def test_every_stream_is_the_devices_one(api, device):
    stream = api.current_stream(device)
    assert stream == api.default_stream(device)
    assert isinstance(stream, api.Stream)
    assert not isinstance(api.Event(), api.Stream)
    with api.stream(stream):
        x = torch.ones(4, device=device)
    if hasattr(stream, "synchronize"):
        stream.wait_stream(api.Stream())
        stream.synchronize()
    assert x.sum().item() == 4


@pytest.mark.skipif(not hasattr(torch, "accelerator"), reason="this torch has no torch.accelerator")
def test_torch_accelerator_names_the_device(api, device):
    assert torch.accelerator.current_accelerator() == torch.device(device.type)
    assert torch.accelerator.device_count() == api.device_count()
    assert torch.accelerator.current_device_index() == api.current_device()
    torch.accelerator.synchronize()
    assert torch.accelerator.current_stream().device.type == device.type
