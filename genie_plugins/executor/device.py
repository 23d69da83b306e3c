"""Which torch device an executor runs on, and with how many threads."""

from __future__ import annotations

import os

import torch

from genie_core.errors import SettingsError
from genie_plugins.executor import memory

MAX_THREADS = 256


def resolve(device: str) -> str:
    """Return `device` with its index ("cuda" is "cuda:0"); "" is CUDA where there is one.

    Raises `SettingsError` for a device that this machine lacks or that is no real one.
    """
    name = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        parsed = torch.device(name)
        if parsed.type in ("meta", torch.device("privateuseone").type):
            raise RuntimeError("it is no device that computes")
        found = torch.empty(0, device=parsed).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SettingsError(
            "--device", device, f"{reason}; give one that this machine has, such as cpu or cuda:0"
        ) from error
    return found.type if found.type == "cpu" else f"{found.type}:{found.index or 0}"


def memory_info(device: str) -> tuple[int, int]:
    """Free and total bytes of `device`; of the CPU, the machine's."""
    where = torch.device(device)
    if where.type == "cpu":
        page = os.sysconf("SC_PAGE_SIZE")
        return os.sysconf("SC_AVPHYS_PAGES") * page, os.sysconf("SC_PHYS_PAGES") * page
    info: tuple[int, int] = getattr(torch, where.type).mem_get_info(where)
    return info


def release_memory(device: str) -> None:
    """Give back what the allocator of `device` holds and nothing uses."""
    where = torch.device(device)
    if where.type == "cpu":
        memory.return_freed()
    else:
        getattr(torch, where.type).empty_cache()


def adopt_threads(device: str, threads: int) -> None:
    """Compute with as many threads as the client does: sums then come out the same, to the bit.

    A number set on this side, by `genie serve --threads` or OMP_NUM_THREADS, stays. Call it on
    the session's own thread. A client in this process has the same number already.
    """
    if device != "cpu" or threads <= 0 or "OMP_NUM_THREADS" in os.environ:
        return
    wanted = min(threads, MAX_THREADS)
    if wanted != torch.get_num_threads():
        torch.set_num_threads(wanted)
