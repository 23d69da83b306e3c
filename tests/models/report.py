"""Runs the zoo on the device, compares it with the CPU, and writes docs/models.md.

python tests/models/report.py                      # all of it, as a table
python tests/models/report.py gpt2 lstm            # some of it
python tests/models/report.py --write docs/models.md
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

if __name__ == "__main__":  # as pytest does it
    sys.path.insert(0, str(Path(__file__).parents[1]))

import attrs
import torch
from conformance.compare import difference
from models.runs import RUNS, STEPS, applies
from models.zoo import Entry, entries, missing

# What is known to differ, by model and run: the op, and why. Empty: nothing does.
REASONS: Mapping[tuple[str, str], str] = {}

HEAD = """# Models

Unmodified models at small size with random weights (`tests/models/zoo.py`), each compared with the
same code on the local CPU, bit by bit. Written by `tox -e zoo`; torch {torch}, transformers
{transformers}, a CPU executor, one thread.

- **forward**: all outputs in evaluation, caches and attention masks of a padded batch among them.
- **generate**: greedily chosen tokens and the logits of each step, with the cache that the model
  has.
- **training**: {steps} steps with AdamW and a learning rate schedule, dropout where the model has
  it: losses, rates, all parameters and buffers.

"""


@attrs.frozen
class Result:
    """What one run of one model came to, and how many ops it recorded."""

    verdict: str
    ops: int = 0


def measure(entry: Entry, run: str, device: torch.device) -> Result:
    """Run on both sides and compare."""
    import genie_core

    if not applies(entry, run):
        return Result("–")
    want = RUNS[run](entry, torch.device("cpu"))
    genie_core.reset_stats(device)
    got = RUNS[run](entry, device)
    ops = genie_core.stats(device).ops
    problem = difference(want, got, device.type)
    why = REASONS.get((entry.name, run), "not known why")
    return Result(f"{problem} ({why})" if problem else "equal", ops)


def row(entry: Entry, device: torch.device) -> str:
    """Return the table's line for one model."""
    reason = missing(entry.library)
    if reason:
        return f"| {entry} | {entry.library} | {reason} | | | |"
    results = [measure(entry, run, device) for run in RUNS]
    cells = " | ".join(result.verdict for result in results)
    return f"| {entry} | {entry.library} | {cells} | {results[-1].ops} |"


def table(chosen: Iterable[Entry], device: torch.device) -> str:
    """Run the zoo and return its table."""
    lines = [
        "| model | from | " + " | ".join(RUNS) + " | ops recorded in training |",
        "|---|---|" + "---|" * (len(RUNS) + 1),
    ]
    for entry in chosen:
        lines.append(row(entry, device))
        print(lines[-1], flush=True)
    return "\n".join(lines) + "\n"


def head() -> str:
    """Return what the page says before the table."""
    try:
        from transformers import __version__ as version
    except ImportError:
        version = "(not installed)"
    return HEAD.format(torch=torch.__version__.split("+")[0], transformers=version, steps=STEPS)


def replace_generated(page: str, generated: str) -> str:
    """Put what is generated in front of the sections that people wrote."""
    start = page.find("\n## ")
    return generated + (page[start:] if start >= 0 else "")


def main() -> int:
    """Run what was asked for; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="models of the zoo; all of them by default")
    parser.add_argument("--write", type=Path, help="the page to write")
    options = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    text = table(entries(options.names), torch.device("remote_accelerator:0"))
    if options.write:
        page = options.write.read_text() if options.write.exists() else ""
        options.write.write_text(replace_generated(page, head() + text))
    return int("differs" in text)


if __name__ == "__main__":
    sys.exit(main())
