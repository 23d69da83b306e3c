"""Ops that are not PyTorch's: what their authors registered tells what their outputs look like."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import torch
import torch.fx
from semantics.recording import forget_programs

import genie_core


@attrs.define
class Measure:
    """What a device did meanwhile."""

    device: torch.device

    def during(self, work: Callable[[], object]) -> dict[str, int]:
        genie_core.synchronize(self.device)
        before = genie_core.stats(self.device)
        work()
        after = genie_core.stats(self.device)
        names = ("programs_built", "program_hits", "round_trips")
        grown = {name: getattr(after, name) - getattr(before, name) for name in names}
        asked = (stats.flushes.get("unknown_shape", 0) for stats in (after, before))
        return {**grown, "asked": next(asked) - next(asked)}


@pytest.fixture
def measure(device: torch.device) -> Measure:
    if device.type == "cpu":
        pytest.skip("a rehearsal infers nothing")
    device = torch.empty(0, device=device).device
    genie_core.synchronize(device)
    forget_programs(device)
    return Measure(device)


def with_custom_op(space: str) -> Any:
    """By `torch.library.custom_op` and `register_fake`, of torch 2.4 and later."""
    if not hasattr(torch.library, "custom_op"):
        pytest.skip("torch.library.custom_op is of torch 2.4")

    def tile(x: torch.Tensor, n: int) -> torch.Tensor:
        return x.repeat(n, 2)

    def above(x: torch.Tensor, low: float) -> torch.Tensor:
        return x[x > low]

    name = f"{space}::tile"
    op = torch.library.custom_op(name, tile, mutates_args=(), device_types="cpu")
    op.register_fake(lambda x, n: x.new_empty(x.shape[0] * n, x.shape[1] * 2))
    torch.library.custom_op(f"{space}::above", above, mutates_args=(), device_types="cpu")
    torch.library.register_fake(f"{space}::above", fake_above)
    return getattr(torch.ops, space)


def fake_above(x: torch.Tensor, low: float) -> torch.Tensor:
    return x.new_empty(context().new_dynamic_size())


def context() -> Any:
    get = getattr(torch.library, "get_ctx", None)
    if get is None:
        from torch._custom_op import impl

        get = impl.get_ctx
    return get()


def with_library(space: str, key: str) -> Any:
    """By `Library.impl`, as in every release, with a kernel for "Meta" or an abstract one."""
    library = torch.library.Library(space, "DEF")
    LIBRARIES.append(library)
    library.define("tile(Tensor x, int n) -> Tensor")
    library.define("above(Tensor x, float low) -> Tensor")
    library.impl("tile", lambda x, n: x.repeat(n, 2), "CPU")
    library.impl("above", lambda x, low: x[x > low], "CPU")

    def fake(x: torch.Tensor, n: int) -> torch.Tensor:
        return x.new_empty(x.shape[0] * n, x.shape[1] * 2)

    if key == "Meta":
        library.impl("tile", fake, "Meta")
    else:
        names = ("register_fake", "impl_abstract")
        registers = [getattr(torch.library, name) for name in names if hasattr(torch.library, name)]
        if not registers:
            pytest.skip("torch.library.impl_abstract is of torch 2.2")
        registers[0](f"{space}::tile", fake)
        registers[0](f"{space}::above", fake_above)
    return getattr(torch.ops, space)


LIBRARIES: list[Any] = []
WAYS: dict[str, Callable[[], Any]] = {
    "custom_op": lambda: with_custom_op("genie_custom"),
    "Meta": lambda: with_library("genie_by_meta", "Meta"),
    "abstract": lambda: with_library("genie_by_fake", ""),
}


@pytest.fixture(scope="module", params=WAYS)
def ops(request: pytest.FixtureRequest) -> Iterator[Any]:
    yield WAYS[request.param]()
    while LIBRARIES:
        library = LIBRARIES.pop()
        library._destroy() if hasattr(library, "_destroy") else None


def test_a_registered_fake_is_asked_and_not_the_executor(ops: Any, measure: Measure) -> None:
    local = torch.arange(6.0).view(2, 3)
    x = local.to(measure.device)
    ops.tile(x, 2)  # whether the executor has the op is asked once
    found: list[torch.Tensor] = []
    grown = measure.during(lambda: found.append(ops.tile(x, 3)))
    assert (grown["asked"], grown["round_trips"]) == (0, 0)
    want = ops.tile(local, 3)
    assert (found[0].shape, found[0].stride()) == (want.shape, want.stride())
    assert torch.equal(found[0].cpu(), want)


def test_sizes_that_come_from_literals_are_symbols(ops: Any, measure: Measure) -> None:
    local = torch.arange(6.0).view(2, 3)
    x = local.to(measure.device)
    ops.tile(x, 2).tolist()

    def work() -> None:
        for n in (3, 4, 5, 6):
            assert torch.equal((ops.tile(x, n) + 1).cpu(), ops.tile(local, n) + 1)

    with genie_core.explain() as explanation:
        grown = measure.during(work)
    assert grown["asked"] == 0
    assert grown["programs_built"] == 2  # as first seen, and with what differs lifted
    assert grown["program_hits"] == 2
    lifted = explanation.programs[-1].nodes
    for node in lifted:
        size = node.meta["geometry"].size
        assert isinstance(size[0], torch.fx.Node)
        assert size[1] == 6


def test_the_executor_is_last_where_only_values_tell(ops: Any, measure: Measure) -> None:
    local = torch.tensor([3.0, -1.0, 5.0])
    x = local.to(measure.device)
    ops.above(x, 0.0)
    for low in (0.0, 4.0, 9.0):
        found: list[torch.Tensor] = []
        grown = measure.during(lambda low=low, found=found: found.append(ops.above(x, low)))
        assert grown["asked"] == 1
        assert torch.equal(found[0].cpu(), local[local > low])


RULE = """
from genie_core import TensorSpec, hookimpl


@hookimpl
def genie_infer_outputs(call):
    if call.name != "pigeon::every":
        return None
    (x, step), _ = call.arguments()
    return [TensorSpec(x.dtype, (-(-x.shape[0] // step),), (1,))]
"""
SCRIPT = """
import torch
import genie_core

library = torch.library.Library("pigeon", "DEF")
library.define("every(Tensor x, int step) -> Tensor")
library.impl("every", lambda x, step: x[::step].clone(), "CPU")
local = torch.arange(10.0)
x = local.to("remote_accelerator")
for step in (2, 3, 4):
    y = torch.ops.pigeon.every(x, step)
    assert y.shape == local[::step].shape, y.shape
    assert torch.equal(y.cpu(), local[::step])
print(genie_core.stats().flushes.get("unknown_shape", 0))
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An installed distribution, with a rule for its op."""
    info = tmp_path / "genie_pigeon-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genie-pigeon\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[genie.plugins]\npigeon = genie_pigeon\n")
    (tmp_path / "genie_pigeon.py").write_text(RULE)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    return tmp_path


@pytest.mark.parametrize(("blocked", "asked"), [("", "0"), ("pigeon", "3")])
def test_a_rule_in_an_installed_package_is_asked_first(
    package: Path, blocked: str, asked: str
) -> None:
    path = os.pathsep.join(filter(None, (str(package), os.environ.get("PYTHONPATH", ""))))
    environment = {**os.environ, "PYTHONPATH": path, "GENIE_BLOCK_PLUGINS": blocked}
    environment.pop("GENIE_DEVICES", None)
    result = subprocess.run(
        [sys.executable, str(package / "script.py")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [asked]
