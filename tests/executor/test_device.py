"""Which device an executor takes, and with how many threads."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from genie_core.errors import SettingsError
from genie_plugins.executor.device import resolve


def test_the_best_device_there_is():
    assert resolve("") == ("cuda:0" if torch.cuda.is_available() else "cpu")
    assert resolve("cpu") == resolve("cpu:0") == "cpu"


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "meta", "privateuseone:0", "cpu:x"])
def test_a_device_that_is_not_there(device):
    with pytest.raises(SettingsError, match="--device") as caught:
        resolve(device)
    assert device in str(caught.value)


THREADS = """
import threading, torch
from genie_plugins.executor.device import adopt_threads
seen = []
def work():
    adopt_threads({device!r}, {threads})
    seen.append(torch.get_num_threads())
default = torch.get_num_threads()
thread = threading.Thread(target=work); thread.start(); thread.join()
print("default" if seen[0] == default else seen[0])
"""


@pytest.mark.parametrize(
    ("device", "threads", "fixed", "expected"),
    [
        ("cpu", 5, "", "5"),
        ("cpu", 0, "", "default"),
        ("cpu", 10**9, "", "256"),
        ("cpu", 5, "3", "default"),
        ("cuda:0", 5, "", "default"),
    ],
)
def test_threads_follow_the_client_unless_set_here(device, threads, fixed, expected, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if fixed:
        monkeypatch.setenv("OMP_NUM_THREADS", fixed)
    script = THREADS.format(device=device, threads=threads)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == expected, done.stderr
