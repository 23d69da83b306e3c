"""Forks are refused once the device was used, allowed before; spawned processes have their own."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

FORK_AFTER = """
    import os, torch
    x = torch.ones(3, device="remote_accelerator") + 1
    x.cpu()
    child = os.fork()
    if child == 0:
        assert torch.remote_accelerator._is_in_bad_fork()
        torch.manual_seed(3)  # what a DataLoader's worker does
        uses = [
            lambda: x + 1,
            lambda: x.add_(1),
            lambda: x.cpu(),
            lambda: torch.empty(2, device="remote_accelerator"),
            lambda: torch.ones(2).to("remote_accelerator"),
        ]
        for use in uses:
            try:
                use()
            except RuntimeError as error:
                assert "spawn" in str(error), error
            else:
                raise AssertionError("not refused")
        assert torch.ones(3).sum().item() == 3
        del x
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    print(x.sum().item())
"""
FORK_BEFORE = """
    import os, torch
    child = os.fork()
    x = torch.ones(3, device="remote_accelerator") + 1
    print(x.sum().item(), flush=True)
    if child:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
LOADER = """
    import inspect
    import torch
    from torch.utils.data import DataLoader, TensorDataset, dataloader

    # 2.6's loader pins for CUDA unless it is told the device; 2.13's asks torch.accelerator.
    ASKS = "torch.accelerator" in inspect.getsource(dataloader)
    PINNED = {} if ASKS else {"pin_memory_device": "remote_accelerator"}
    OLD = not hasattr(torch, "Event")  # before 2.4: CUDA's only

    def main(how):
        device = torch.device("remote_accelerator")
        weight = torch.ones(4, device=device)
        data = TensorDataset(torch.arange(32.0).reshape(8, 4))
        pinned = {"pin_memory": True, **({} if OLD else PINNED)}
        loader = DataLoader(data, 2, num_workers=2, multiprocessing_context=how, **pinned)
        total = torch.zeros((), device=device)
        for (batch,) in loader:
            assert batch.is_pinned() or OLD
            total += (batch.to(device, non_blocking=True) * weight).sum()
        print(total.item())

    if __name__ == "__main__":
        main("fork")
"""
SPAWN = """
    import torch, torch.multiprocessing as mp

    def work(rank):
        x = torch.full((3,), float(rank), device="remote_accelerator")
        assert x.sum().item() == 3 * rank

    if __name__ == "__main__":
        torch.ones(1, device="remote_accelerator").cpu()
        mp.spawn(work, nprocs=2)
        print("done")
"""
STATES = """
    import torch
    api = torch.remote_accelerator
    torch.manual_seed(4)
    states = api.get_rng_state_all()
    before = torch.rand(3, device="remote_accelerator").cpu()
    api.seed_all()
    assert not torch.equal(torch.rand(3, device="remote_accelerator").cpu(), before)
    api.set_rng_state_all(states)
    assert torch.equal(torch.rand(3, device="remote_accelerator").cpu(), before)
    print(len(states), api.initial_seed() != 4)
"""
SCRIPTS = {
    "fork after use": (FORK_AFTER, "6.0"),
    "fork before use": (FORK_BEFORE, "6.0\n6.0"),
    "DataLoader workers": (LOADER, "496.0"),
    "random states": (STATES, "1 True"),
    "spawn": (SPAWN, "done"),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_processes(name, tmp_path):
    script, expected = SCRIPTS[name]
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent("import genie_core\n" + textwrap.dedent(script)))
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(path)], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == expected
