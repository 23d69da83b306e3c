"""The zoo: unmodified models give the CPU's bits, forward, in generation and in training."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conformance.compare import difference
from models.runs import RUNS, applies
from models.zoo import ZOO, Entry, entries, missing
from torch.utils._pytree import tree_flatten

CPU = torch.device("cpu")
DOCS = Path(__file__).parents[2] / "docs" / "models.md"
FOLLOWS_ATTENTION = not (2, 2) <= tuple(map(int, torch.__version__.split(".")[:2])) < (2, 6)
CASES = [
    pytest.param(entry, run, id=f"{entry}-{run}")
    for entry in ZOO
    for run in RUNS
    if applies(entry, run)
]


@pytest.mark.parametrize(("entry", "run"), CASES)
def test_bits(entry: Entry, run: str, device: torch.device) -> None:
    reason = missing(entry.library)
    if reason:
        pytest.skip(reason)
    if (entry.name, run) == ("transformer", "forward") and not FOLLOWS_ATTENTION:
        pytest.skip("attention's choice of kernel is followed on torch 2.1, and from 2.6 on")
    want, got = (RUNS[run](entry, where) for where in (CPU, device))
    assert any(isinstance(leaf, torch.Tensor) for leaf in tree_flatten(want)[0])
    assert difference(want, got, device.type) == ""


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("entry", entries(["gpt2", "lstm"]), ids=str)
def test_bits_over_tcp(entry: Entry, run: str, remote_device: torch.device) -> None:
    if missing(entry.library) or not applies(entry, run):
        pytest.skip(missing(entry.library) or "this one does not generate")
    want, got = (RUNS[run](entry, where) for where in (CPU, remote_device))
    assert difference(want, got, remote_device.type) == ""


@pytest.mark.parametrize("entry", ZOO, ids=str)
def test_weights_move_in_training(entry: Entry) -> None:
    if missing(entry.library):
        pytest.skip(missing(entry.library))
    from models.runs import build

    before = build(entry, CPU, train=True).state_dict()
    after = RUNS["training"](entry, CPU)["weights"]
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_documented() -> None:
    rows = {line.split("|")[1].strip() for line in DOCS.read_text().splitlines() if "|" in line}
    assert {entry.name for entry in ZOO} <= rows


def test_names_are_checked() -> None:
    with pytest.raises(ValueError, match="not in the zoo: lama"):
        entries(["gpt2", "lama"])


def test_what_people_wrote_stays() -> None:
    from models.report import replace_generated

    assert replace_generated("# Old\n\n| a |\n\n## Notes\n\nkept\n", "# New\n") == (
        "# New\n\n## Notes\n\nkept\n"
    )
    assert replace_generated("", "# New\n") == "# New\n"
