"""Operators are tied to the device at its first use, whatever that use is."""

from __future__ import annotations

import subprocess
import sys

import pytest

FIRST = {
    "a factory without a decomposition": "assert torch.tril_indices(2, 2, device=d).sum() == 3",
    "a tensor from the CPU": "assert (torch.ones(2).to(d) + 1).tolist() == [2.0, 2.0]",
    "a random tensor": "assert torch.randperm(4, device=d).sum() == 6",
    "a module": "assert torch.nn.Linear(2, 2, device=d).weight.numel() == 4",
    "a loaded file": (
        "f = io.BytesIO(); torch.save(torch.ones(2), f); f.seek(0)\n"
        "assert (torch.load(f, map_location=d) * 2).tolist() == [2.0, 2.0]"
    ),
    "a sparse tensor": (
        "try: torch.sparse_coo_tensor([[0]], [1.0], (2,), device=d)\n"
        "except NotImplementedError as error: assert 'strided' in str(error)\n"
        "else: raise AssertionError('made')"
    ),
    "autocast": (
        "x = torch.ones(2, 2, device=d)\n"
        "with torch.autocast(d, torch.bfloat16): y = x.mm(x)\n"
        "wanted = torch.bfloat16 if torch.__version__ >= '2.6' else torch.float32\n"
        "assert y.dtype == wanted, y.dtype"
    ),
    "a generator": "assert torch.Generator(d).manual_seed(3).initial_seed() == 3",
}  # fmt: skip


@pytest.mark.parametrize("name", FIRST)
def test_first_use_of_the_device(name: str, device: object) -> None:
    lines = f"import io, torch, genie_core\nd = {str(device).partition(':')[0]!r}\n{FIRST[name]}\n"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", lines], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
