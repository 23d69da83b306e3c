"""Programs in files: run elsewhere as they were, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import genie_core
from genie_core.errors import CaptureError, RemoteError, SettingsError
from genie_plugins.dynamo.saved import MAGIC, SavedProgram, load_program, make_program


def step(x: torch.Tensor, weight: torch.Tensor, total: torch.Tensor) -> list[torch.Tensor]:
    y = torch.nn.functional.linear(x, weight).relu()
    total.add_(y.sum())
    return [y, y.t(), x[0], total, torch.dropout(y, 0.5, True)]


def tensors(where: torch.device, seed: int = 0) -> list[torch.Tensor]:
    torch.manual_seed(seed)
    made = [torch.randn(3, 4), torch.randn(5, 4), torch.zeros(())]
    return [one.to(where) for one in made]


def check(program: SavedProgram, where: torch.device) -> None:
    for seed in (1, 2):
        local, there = tensors(torch.device("cpu"), seed), tensors(where, seed)
        torch.manual_seed(5)
        want = step(*local)
        torch.manual_seed(5)
        got = program(*there)
        for left, right in zip([*want, *local], [*got, *there], strict=True):
            assert right.device.type == where.type
            assert right.stride() == left.stride()
            assert torch.equal(right.cpu(), left)


@pytest.fixture
def program(device: torch.device) -> SavedProgram:
    return make_program(step, *tensors(device))


def test_runs(program: SavedProgram, device: torch.device) -> None:
    check(program, device)
    there = tensors(device)
    genie_core.reset_stats(device)
    program(*there)
    assert genie_core.stats(device).ops == 0


def test_from_a_file_elsewhere(
    program: SavedProgram, tmp_path: Path, remote_device: torch.device
) -> None:
    program.save(tmp_path / "step.genie")
    check(load_program(tmp_path / "step.genie"), remote_device)


def test_the_same_function_twice(device: torch.device) -> None:
    for _ in range(2):
        check(make_program(step, *tensors(device)), device)


def test_errors_name_the_op(device: torch.device) -> None:
    x = torch.arange(3.0).to(device)
    program = make_program(lambda x, i: x.gather(0, i), x, torch.tensor([1]).to(device))
    with pytest.raises(RemoteError, match="aten::gather failed"):
        program(x, torch.tensor([9]).to(device))[0].cpu()


def test_other_tensors_are_refused(program: SavedProgram, device: torch.device) -> None:
    x, weight, total = tensors(device)
    with pytest.raises(ValueError, match="other shapes"):
        program(x[:2], weight, total)
    with pytest.raises(ValueError, match="one remote_accelerator device"):
        program(x.cpu(), weight, total)


def test_what_depends_on_more_is_refused(device: torch.device) -> None:
    other = torch.ones(3).to(device)
    for function in (lambda x: x + other, lambda x: x + 1 if x.sum() > 0 else x):
        with pytest.raises(CaptureError, match="depend on more"):
            make_program(function, torch.ones(3).to(device))


@pytest.fixture
def content(program: SavedProgram, tmp_path: Path) -> bytes:
    program.save(tmp_path / "step.genie")
    return (tmp_path / "step.genie").read_bytes()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: b"", "no program"),
        (lambda content: b"PK\x03\x04" + content, "no program"),
        (lambda content: content.replace(MAGIC, MAGIC[:-2] + b"\x02\n", 1), "no program"),
        (lambda content: content[:-1], "damaged"),
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), "damaged"),
    ],
)
def test_other_files_are_refused(content: bytes, tmp_path: Path, damage: Any, reason: str) -> None:
    (tmp_path / "other").write_bytes(damage(content))
    with pytest.raises(SettingsError, match=reason):
        load_program(tmp_path / "other")


def test_of_another_torch(program: SavedProgram, tmp_path: Path) -> None:
    program.torch_version = "1.13.0"
    program.save(tmp_path / "old")
    with pytest.raises(SettingsError, match=r"made with torch 1\.13\.0"):
        load_program(tmp_path / "old")


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 30)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_forged_numbers(
    program: SavedProgram, device: torch.device, tmp_path: Path, data: st.DataObject
) -> None:
    """Whatever a file says, it is refused when it is loaded, or when its run is read."""
    forged = msgspec.to_builtins(program.form)
    place = forged
    while isinstance(place, list | tuple) and place:
        index = data.draw(st.integers(0, len(place) - 1))
        if not isinstance(place[index], list | tuple):
            break
        inner = list(place[index])
        place[index] = inner
        place = inner
    if place and not isinstance(place[index], list | tuple | bool):
        place[index] = data.draw(NUMBERS)
    try:
        form = msgspec.convert(forged, type(program.form))
        SavedProgram(form, program.code).save(tmp_path / "forged")
        outputs = load_program(tmp_path / "forged")(*tensors(device))
        for one in outputs:
            one.cpu()
    except (RuntimeError, ValueError, OverflowError, msgspec.MsgspecError):
        pass
    assert torch.ones(2, device=device).sum().cpu() == 2
