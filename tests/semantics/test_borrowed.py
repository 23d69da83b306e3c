"""Ops whose origin was never asked for: the program begins, or goes on, as a known one does."""

from __future__ import annotations

import sys

import pytest
import torch
from semantics.recording import op_name
from torch import nn

import genie_core
from genie_core.errors import RemoteError


def line() -> int:
    """The caller's line."""
    return sys._getframe(1).f_lineno


def origins(recording, program: int) -> dict[str, str]:
    ops = [node for node in recording.graphs[program].nodes if "op" in node.meta]
    return {op_name(node): node.meta["genie"].origin for node in ops}


@pytest.fixture
def x(device, synchronize, recording) -> torch.Tensor:
    x = torch.ones(3, device=device)
    recording.forget()
    return x


def test_a_program_that_begins_like_another_does_not_claim_its_lines(x, recording, synchronize):
    def first() -> int:
        x.exp2().log1p().atan()
        return line() - 1

    def second() -> int:
        y = x.exp2().log1p()
        y.asinh()
        return line() - 1

    earlier = first()
    synchronize()
    own = second()
    synchronize()
    place = f"{__file__}:{earlier} in first"
    assert set(origins(recording, 0).values()) == {place}
    later = f"{__file__}:{own} in second"
    assert origins(recording, 1) == {
        "exp2": f"as at {place}, before {later}",
        "log1p": f"as at {place}, before {later}",
        "asinh": later,
    }


def test_a_program_within_another_was_recorded_before_its_flush(x, recording, synchronize):
    def first() -> int:
        x.exp2().log1p().atan()
        return line() - 1

    earlier = first()
    synchronize()
    y = x.exp2().log1p()
    y.tolist()
    read = line() - 1
    flush = f"{__file__}:{read} in test_a_program_within_another_was_recorded_before_its_flush"
    expected = f"as at {__file__}:{earlier} in first, before {flush}"
    assert set(origins(recording, 1).values()) == {expected}


def test_so_does_one_that_differs_in_its_literals_alone(x, recording, synchronize):
    def first() -> None:
        (x * 2.0).atan()

    def second() -> None:
        (x * 3.0).atan()

    first()
    synchronize()
    second()
    synchronize()
    assert len(recording.graphs) == 2
    for origin in origins(recording, 1).values():
        assert origin.startswith("as at ")
        assert " in first, before " in origin


def test_a_backwards_op_says_of_its_forwards_line_what_is_known(x, recording, synchronize):
    x.requires_grad_()
    (x.exp2().log1p() * 2.0).atan()
    synchronize()
    x.exp2().log1p().erf().sum().backward()
    synchronize()
    backward = [n.meta["genie"] for n in recording.of_phase("backward")]
    assert any(known.origin.startswith("as at ") for known in backward)


def test_modules_that_no_parameter_vouches_for_are_not_claimed(x, recording, synchronize):
    class Curve(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp2().log1p().atan()

    Curve()(x)
    synchronize()
    x.exp2().log1p().asinh()
    synchronize()
    inside, outside = (
        [n.meta["genie"] for n in graph.nodes if "op" in n.meta] for graph in recording.graphs
    )
    assert {known.root for known in inside} == {"Curve"}
    assert {(known.module, known.module_type, known.root) for known in outside} == {(None, "", "")}


def test_the_model_is_claimed_where_the_program_goes_on_in_it(x, recording, synchronize):
    class Part(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.exp2().log1p()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Part(), Part()

        def forward(self, x: torch.Tensor, *, first: bool) -> torch.Tensor:
            return self.first(x).atan() if first else self.second(x).asinh()

    whole = Whole()
    for first in (True, False):
        whole(x, first=first)
        synchronize()
    modules = [n.meta["genie"].module for n in recording.ops]
    assert modules == ["first", "first", "", "", "", ""]
    assert {n.meta["genie"].root for n in recording.ops} == {"Whole"}


def test_blocks_that_no_parameter_tells_are_not_claimed(device, x, recording, synchronize):
    """A program that begins at one block's end and goes on with the next."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.end = nn.Linear(3, 3), nn.Tanh()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = nn.ModuleList([Block() for _ in range(4)])

        def forward(self, x: torch.Tensor, *, first: int) -> torch.Tensor:
            y = self.blocks[first].end(x)
            y = self.blocks[first + 1].linear(y)
            return self.blocks[first + 1].end(y)

    whole = Whole().to(device)
    synchronize()
    recording.forget()
    for first, last in ((0, "sin"), (2, "cos")):
        getattr(whole(x, first=first), last)()
        synchronize()
    modules = [n.meta["genie"].module for n in recording.ops]
    assert modules == [
        *("blocks.0.end", "blocks.1.linear", "blocks.1.end", None),
        *("blocks", "blocks.3.linear", "blocks.3.end", None),
    ]


def test_buffers_tell_the_module_too(device, x, recording, synchronize):
    class Shift(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("by", torch.ones(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.exp2() + self.by).log1p()

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = Shift(), Shift()

        def forward(self, x: torch.Tensor, *, first: bool) -> torch.Tensor:
            return self.first(x).atan() if first else self.second(x).asinh()

    whole = Whole().to(device)
    synchronize()
    recording.forget()
    for first in (True, False):
        whole(x, first=first)
        synchronize()
    modules = [n.meta["genie"].module for n in recording.ops]
    assert modules == [*["first"] * 3, "", *["second"] * 3, ""]


def test_an_error_does_not_name_another_calls_line(device, x, recording, synchronize):
    table = torch.ones(4, 2, device=device)
    good, bad = (torch.tensor([n]).to(device) for n in (1, 9))

    def first() -> torch.Tensor:
        return nn.functional.embedding(good, table).exp2().atan()

    def second() -> torch.Tensor:
        return nn.functional.embedding(bad, table).exp2().asinh()

    synchronize()
    first()
    synchronize()
    y = second()
    with pytest.raises(RemoteError) as raised:
        y.tolist()
    assert raised.value.where.startswith("as at ")
    assert ", first recorded as at " in str(raised.value)
    assert f", before {__file__}:" in str(raised.value)
    assert " in second" in str(raised.value)


def test_an_error_in_a_program_that_runs_again_says_which_line_was_first(device, x, synchronize):
    table = torch.ones(4, 2, device=device)
    good, bad = (torch.tensor([n]).to(device) for n in (1, 9))

    def first() -> torch.Tensor:
        return nn.functional.embedding(good, table).exp2().atan()

    def second() -> torch.Tensor:
        return nn.functional.embedding(bad, table).exp2().atan()

    synchronize()
    first().tolist()
    y = second()
    with pytest.raises(RemoteError, match=r", first recorded at .* in first"):
        y.tolist()
    assert genie_core.stats(device.index).program_hits > 0
