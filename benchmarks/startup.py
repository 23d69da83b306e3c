"""What Genie adds to `import torch`, and to the device's first tensor.

Each figure is the median over fresh processes. PyTorch's own search for backends (the entry
points of `torch.backends`) is a row for itself: it is there without Genie, too.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from typing import Any

PROCESSES = 9
IMPORT_BAR_MS = 10.0
_MEASURED = """
import importlib.metadata, json, time
import torch
marks = [time.perf_counter()]
def mark(): marks.append(time.perf_counter())
found = importlib.metadata.entry_points(group="torch.backends")
mark()
[point.load() for point in found if point.name == "remote_accelerator"][0]()
mark()
torch.empty(1, device="remote_accelerator")
mark()
torch.ones(1, device="remote_accelerator").item()
mark()
print(json.dumps([after - before for before, after in zip(marks, marks[1:])]))
"""
_PARTS = {
    "torch looks for backends": None,
    "Genie makes the device exist": IMPORT_BAR_MS,
    "the first tensor": None,
    "the first value read, embedded executor": None,
}


def run() -> list[dict[str, Any]]:
    """A row for each part of a start, in ms."""
    runs = [_measure() for _ in range(PROCESSES)]
    medians = [statistics.median(part) * 1e3 for part in zip(*runs, strict=True)]
    return [
        {"part": part, "ms": ms, "bar_ms": bar, "met": bar is None or ms <= bar}
        for (part, bar), ms in zip(_PARTS.items(), medians, strict=True)
    ]


def _measure() -> list[float]:
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0", "GENIE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-c", _MEASURED]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    seconds: list[float] = json.loads(done.stdout)
    return seconds
