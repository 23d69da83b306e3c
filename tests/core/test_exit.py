"""A script that ends right after its backward exits 0, whatever autograd's threads still do.

GENIE_EXIT_RUNS says how often each is run; once in some is enough to crash a release of torch.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RUNS = int(os.environ.get("GENIE_EXIT_RUNS", "3"))

DEVICE = """
import torch
import genie_core
x = torch.ones(3, 3, device="remote_accelerator", requires_grad=True)
x.mul(2).sum().backward()
"""
CPU_ONLY = """
import torch
import genie_core
torch.ones(3, 3, requires_grad=True).mul(2).sum().backward()
"""
ANOMALY = """
import torch
import genie_core
torch.autograd.set_detect_anomaly(True)
x = torch.ones(3, 3, device="remote_accelerator", requires_grad=True)
x.mul(2).sum().backward()
"""
FORKED = """
import os, sys
import torch
import genie_core
x = torch.ones(3, 3, device="remote_accelerator", requires_grad=True)
x.mul(2).sum().backward()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
BUSY = """
import threading
import time
import torch
import genie_core

class Slow(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        entered.set()
        time.sleep(600)

entered = threading.Event()
genie_core.device.SETTLE_MS = 200
x = torch.ones(3, device="remote_accelerator", requires_grad=True)
threading.Thread(target=Slow.apply(x).sum().backward, daemon=True).start()
entered.wait()
"""
# The executor comes back from native code while the interpreter finalizes.
LATE = """
import time
import torch
import genie_core
from genie_plugins.transport_inproc import embedded

class Late:
    def __del__(self, sleep=time.sleep):
        sleep(3)  # gives up the interpreter's lock

embedded.STOP_SECONDS = 0
torch.set_num_threads(1)
x = torch.ones(1500, 1500, device="remote_accelerator")
(x @ x)[0, 0].item()
late = Late()
for _ in range(70):
    x = x @ x
time.sleep(0.5)
"""
# So does a thread of the user's, from one of torch's own bindings.
USERS = """
import threading
import time
import torch
import genie_core

class Late:
    def __del__(self, sleep=time.sleep):
        sleep(3)

def work():
    while True:
        a @ a

torch.set_num_threads(1)
torch.ones(3, device="remote_accelerator").sum().item()
a = torch.ones(1500, 1500)
late = Late()
threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""


def run(script: str, **environment: str) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=240,  # tells one that hangs from one that a loaded machine keeps waiting
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""


@pytest.mark.timeout(240 + 60 * RUNS)
@pytest.mark.parametrize("script", [DEVICE, CPU_ONLY], ids=["device", "cpu"])
def test_a_script_that_ends_after_its_first_backward_exits_well(script):
    for _ in range(RUNS):
        run(script)


@pytest.mark.timeout(240 + 60 * RUNS)
def test_so_does_one_whose_executor_is_another_process(shared_executor):
    for _ in range(RUNS):  # a loaded machine answers late: that is not what is tested
        run(DEVICE, GENIE_DEVICES=shared_executor.url, GENIE_CONNECT_TIMEOUT="60")


@pytest.mark.parametrize("script", [ANOMALY, FORKED], ids=["anomaly", "fork"])
def test_so_does_one_that(script):
    run(script)


@pytest.mark.parametrize("script", [LATE, USERS], ids=["executor", "user"])
def test_a_thread_that_comes_back_while_python_ends_does_not_end_the_process(script):
    run(script)


def test_a_device_thread_that_hangs_does_not_keep_the_process():
    run(BUSY)
