"""Hot programs compiled by Inductor: the same numbers, and only where both agree."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from genie_core import protocol
from genie_core.protocol import ProgramCode, Rewrite
from genie_plugins.executor.inductor import compile as compiling
from genie_plugins.executor.inductor import hot, operator
from genie_plugins.executor.inductor.compile import compile_program
from genie_plugins.executor.inductor.translate import Unsuitable, translate

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def codes(device: torch.device, work: Callable[[], object]) -> list[ProgramCode]:
    """The new programs that `work` becomes."""
    import genie_core
    from genie_core.dispatcher import dispatcher

    genie_core.synchronize(device)
    session, found = dispatcher.session(0), []
    define = session._define

    def noted(sealed: Any) -> Any:
        found.append(define(sealed))
        return found[-1]

    session._define = noted
    try:
        work()
        genie_core.synchronize(device)
    finally:
        del session._define
    return [protocol.decode_program(program.code) for program in found]


def net(device: torch.device) -> Callable[[], torch.Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 4))
    there, x = model.to(device).eval(), torch.randn(5, 8).to(device)

    @torch.no_grad()
    def forward() -> torch.Tensor:
        return there(x).t().softmax(0) * 2

    return forward


class Recording:
    """A store that a session would use, which notes what it is told."""

    def __init__(self) -> None:
        self.rewrites: list[tuple[Any, ...]] = []
        self.defined: list[tuple[Any, ...]] = []

    def define_rewrite(self, *fields: Any) -> None:
        self.defined.append(fields)


def payload(program: int) -> bytes:
    return bytes([program | 0x80, 0x01, 0x00])  # a varint of two bytes


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def code(device: torch.device) -> ProgramCode:
    kept: list[torch.Tensor] = []
    forward = net(device)
    (found,) = codes(device, lambda: kept.append(forward()))
    return found


def test_translated(code: ProgramCode) -> None:
    found = translate(code, "cpu")
    names = [str(node.target) for node in found.graph.graph.nodes]
    assert "aten.native_layer_norm.default" in names or "aten.layer_norm.default" in names
    assert not found.written
    assert len(found.outputs) == len(code.kept)


def test_numbers_that_vary(code: ProgramCode) -> None:
    import msgspec

    with pytest.raises(Unsuitable, match="vary"):
        translate(msgspec.structs.replace(code, symbols=1), "cpu")
    with pytest.raises(Unsuitable, match="sizes"):
        translate(msgspec.structs.replace(code, tail=True), "cpu")


def test_random_numbers_are_left_alone(device: torch.device) -> None:
    x = torch.ones(3).to(device)
    kept: list[torch.Tensor] = []
    (found,) = codes(device, lambda: kept.append(torch.rand(3, device=device) + x))
    with pytest.raises(Unsuitable, match="random"):
        translate(found, "cpu")


def test_a_rewrite_is_one_op(code: ProgramCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "_inductor", lambda graph, examples: graph)
    made = compile_program(code, "cpu")
    (op,) = made.ops
    assert op[0] == operator.NAME
    assert 0 < made.tolerance < 1e-3


@pytest.mark.parametrize("again", ["faster", "slower", "refused"])
def test_judged(code: ProgramCode, monkeypatch: pytest.MonkeyPatch, again: str) -> None:
    ours = compiling.Made(code.slots, code.tensors, [["it"]], [0], [], [], 0.1)
    monkeypatch.setattr(compiling, "compile_program", lambda code, device: ours)
    store, theirs = Recording(), Rewrite(code.slots, code.tensors, code.ops, [], [], [], 0.0, {})
    programs = hot.HotPrograms(store, "cpu")
    programs.define(1 << 7, code, theirs)
    for _ in range(hot.HOT - 1):
        programs.run(payload(0))
    assert programs._done.empty()
    programs.run(payload(0))
    wait(lambda: not programs._done.empty())
    programs.run(payload(0))
    assert [fields[3] for fields in store.defined] == [[["it"]]]
    for state, after in (("accepted", 9.0), (again, 0.5)):
        told = "refused" if state == "refused" else "accepted"
        store.rewrites = [(1 << 7, told, "", 0.0, 1.0, 2.0 if state == "slower" else after)]
        programs.run(payload(0))
    used = [fields[3] for fields in store.defined]
    assert used == [[["it"]]] * 2 + ([code.ops] if again != "faster" else [])


def test_no_compiler(code: ProgramCode, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    class InvalidCxxCompiler(RuntimeError):
        pass

    def fail(code: ProgramCode, device: str) -> None:
        raise InvalidCxxCompiler("No working C++ compiler found")

    monkeypatch.setattr(compiling, "compile_program", fail)
    hot._compiling.cache_clear()
    programs = hot.HotPrograms(Recording(), "cpu")
    programs.define(1 << 7, code, None)
    for _ in range(hot.HOT + 2):
        programs.run(payload(0))
    hot._compiling.cache_clear()
    assert not programs._unchecked


def test_other_tensors_are_refused() -> None:
    x = torch.ones(3)
    number = operator.add(lambda tensors: [tensors[0] + 1], [x])
    run = torch.ops.genie_inductor.run
    assert torch.equal(run(number, [x], [])[0], x + 1)
    for inputs in ([torch.ones(4)], [x.double()], [torch.ones(6)[::2]], [], [x, x]):
        with pytest.raises(ValueError, match="other tensors"):
            run(number, inputs, [])
    operator.remove(number)
    with pytest.raises(ValueError, match="other tensors"):
        run(number, [x], [])


SCRIPT = """
import time, torch, genie_core
x, w, b = (torch.randn(64, 64).to("remote_accelerator") for _ in range(3))
state = torch.zeros(64, 64).to("remote_accelerator")
def work():
    y = torch.nn.functional.gelu(x @ w.t() + b, approximate="tanh") * 2 - b.t()
    y[1:3] += x[0:2]
    state.mul_(0.5).add_(y)
    return y.softmax(-1), state.clone()
local = [t.cpu() for t in (x, w, b)]
def want(total):
    x, w, b = local
    y = torch.nn.functional.gelu(x @ w.t() + b, approximate="tanh") * 2 - b.t()
    y[1:3] += x[0:2]
    total = total * 0.5 + y
    return y.softmax(-1), total
total, end = torch.zeros(64, 64), time.monotonic() + 600
found = ""
while time.monotonic() < end and found != "accepted":
    got = [t.cpu() for t in work()]
    right, total = want(total)
    torch.testing.assert_close(got, [right, total], rtol=1e-4, atol=1e-4)
    states = {o.state: o.error for o in torch.remote_accelerator.rewrites()}
    found = next(iter(states), "")
    time.sleep(0.05)
for _ in range(5):
    got = [t.cpu() for t in work()]
    right, total = want(total)
    torch.testing.assert_close(got, [right, total], rtol=1e-4, atol=1e-4)
print(found, flush=True)
"""


@pytest.mark.timeout(660)  # Inductor tries out the C++ compiler first
def test_a_hot_program(tmp_path: Any) -> None:
    import os
    import subprocess
    import sys

    found = {"GENIE_INDUCTOR": "1", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    env = {**os.environ, **found, "GENIE_PASSES": "-all", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=640
    )
    assert done.stdout == "accepted\n", done.stderr
    assert list(tmp_path.rglob("*.so"))
