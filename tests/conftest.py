"""What all tests share: the device, an executor that is a process of its own, comparisons."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import torch

    from genie_plugins.demo.launch import ExecutorProcess


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    # How a sum is split over threads decides its last bits: both sides must split alike.
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device under test; GENIE_TEST_DEVICE=cpu rehearses the tests without it."""
    import torch

    name = os.environ.get("GENIE_TEST_DEVICE", "remote_accelerator")
    if name != "cpu":
        import genie_core  # noqa: F401 - the device exists from here on
    return torch.device(name)


@pytest.fixture
def executor_process() -> Iterator[ExecutorProcess]:
    """A `genie serve` on TCP loopback, in a process of its own that the test may kill."""
    from genie_plugins.demo.launch import executor_process

    with executor_process() as executor:
        yield executor


@pytest.fixture(scope="session")
def shared_executor() -> Iterator[ExecutorProcess]:
    """As `executor_process`, one for the whole run: not to be killed or stopped."""
    from genie_plugins.demo.launch import executor_process

    with executor_process() as executor:
        yield executor


@pytest.fixture(scope="session")
def connect(device: torch.device) -> Callable[[str], torch.device]:
    """`genie_core.connect`, with index 0 left to the embedded executor that other tests use."""
    if device.type == "cpu":
        pytest.skip("a rehearsal has no executors")
    import torch

    import genie_core

    torch.zeros(1, device=device).cpu()
    return genie_core.connect


@pytest.fixture(scope="session")
def remote_device(
    connect: Callable[[str], torch.device], shared_executor: ExecutorProcess
) -> torch.device:
    """A device whose executor is the `shared_executor`, over TCP."""
    return connect(shared_executor.url)
