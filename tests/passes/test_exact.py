"""Passes that give the same bits: what they find, and what they leave alone."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

import genie_core
from genie_core.session import Session


@pytest.fixture
def changes(genie, outcomes, plug):
    """Call a function on the CPU and there; returns what each pass changed in its programs."""
    found = Counter()

    class Watch:
        @genie_core.hookimpl
        def genie_flushed(self, program):
            if program is not None and program.rewrite is not None:
                found.update(program.rewrite.passes)

    def call(function, *arguments):
        for _ in range(3):
            expected = function(*arguments)
            there = function(*(a.to(genie) for a in arguments))
            assert torch.equal(there.cpu(), expected)
        assert {one.state for one in outcomes()} <= {"accepted"}
        return dict(found)

    plug(Watch(), "watch")
    genie_core.synchronize(genie)  # what other tests left in the trace, a seed, is not its own
    Session.observers += 1
    yield call
    Session.observers -= 1


def test_an_op_that_nobody_reads_is_dropped(changes, only):
    only("dead_code")

    def function(x):
        x.sin().cos()
        return x + 1

    assert changes(function, torch.randn(3)) == {"dead_code": 2}


def test_what_is_written_in_place_and_read_is_not_dead(changes, only):
    only("dead_code")

    def function(x):
        y = x * 2
        y.add_(1)
        y[0] = 5
        return y.clone()

    assert changes(function, torch.randn(3)) == {}


def test_an_input_that_is_written_keeps_its_writes(genie, only):
    only("dead_code", "common_subexpressions")
    x = torch.randn(4)
    there = x.to(genie)
    for _ in range(3):
        x.mul_(2)
        there.mul_(2)
        assert torch.equal(there.cpu(), x)


def test_random_numbers_are_drawn_though_nobody_reads_them(genie, only):
    only("dead_code", "common_subexpressions", "constants")
    torch.manual_seed(3)
    torch.rand(2), torch.rand(2)
    expected = torch.rand(5)
    for _ in range(3):
        torch.manual_seed(3)
        torch.rand(2, device=genie), torch.rand(2, device=genie)
        assert torch.equal(torch.rand(5, device=genie).cpu(), expected)


def test_equal_ops_are_done_once(changes, only):
    only("common_subexpressions")

    def function(x):
        return (x * 2).relu() + (x * 2).relu()

    assert changes(function, torch.randn(3)) == {"common_subexpressions": 2}


def test_ops_of_several_results_are_done_once(changes, only):
    only("common_subexpressions")

    def function(x):
        values, _ = x.max(0)
        _, indices = x.max(0)
        return values + indices

    assert changes(function, torch.randn(3, 4)) == {"common_subexpressions": 1}


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x * 2).add_(1) + (x * 2),  # one of the results is written to
        lambda x: (x * 1) + (x * 1.0),  # equal in Python, another op for an integer tensor
        lambda x: (x + 0.0) - (x + -0.0),
        lambda x: x.sum() + x.mul_(2).sum(),  # the input changes in between
    ],
)
def test_ops_that_only_look_equal_stay(changes, only, function):
    only("common_subexpressions")

    def fresh(x):
        return function(x.clone())

    assert changes(fresh, torch.randn(3)) == {}


def test_two_results_that_the_user_keeps_stay_two(genie, only):
    only("common_subexpressions")
    x = torch.randn(3)
    there = x.to(genie)
    for _ in range(3):
        a, b = there * 2, there * 2
        a.add_(1)
        assert torch.equal(b.cpu(), x * 2)
        assert torch.equal(a.cpu(), x * 2 + 1)


def test_constants_are_computed_once(changes, only):
    only("constants")

    def function(x):
        return x + torch.ones(3, 3, device=x.device).tril()

    assert changes(function, torch.randn(3, 3)) == {"constants": 2}


def test_a_constant_that_is_written_is_none(changes, only):
    only("constants")

    def function(x):
        mask = torch.ones(3, device=x.device)
        mask[1] = 0
        return x * mask

    found = changes(function, torch.randn(3))
    assert found.get("constants", 0) <= 1  # the number that is written, not what it is written to


def test_a_value_that_is_usually_dropped_may_be_kept_once(genie, only):
    """The second run wants what the rewrite does not make."""
    only("dead_code", "common_subexpressions")
    x = torch.randn(3)
    there = x.to(genie)
    for keep in (False, False, True, False):
        lost = (there * 3).exp()
        result = there + 1
        if not keep:
            del lost
        assert torch.equal(result.cpu(), x + 1)
        if keep:
            assert torch.equal(lost.cpu(), (x * 3).exp())


def test_passes_are_switched_by_name(changes, only):
    only()

    def function(x):
        x.sin()
        return (x * 2) + (x * 2)

    assert changes(function, torch.randn(3)) == {}


def test_an_unknown_pass_is_named_with_those_there_are(genie, monkeypatch, capsys):
    from genie_core.errors import SettingsError
    from genie_plugins.passes import rewriting

    monkeypatch.setenv("GENIE_PASSES", "dead_cod")
    rewriting.passes.cache_clear()
    with pytest.raises(SettingsError, match=r"dead_cod.*append.*dead_code"):
        rewriting.passes()
    rewriting.passes.cache_clear()


def test_what_an_op_writes_without_saying_so_is_written_once(genie, outcomes, only):
    """Batch norm's schema does not say that it updates its running statistics."""
    only("dead_code", "common_subexpressions")
    ours, theirs = (torch.nn.BatchNorm1d(3).to(device) for device in ("cpu", genie))
    x = torch.randn(4, 3)
    there = x.to(genie)
    for _ in range(3):
        expected = ours(x) + ours(x)
        there.sin()
        found = theirs(there) + theirs(there)
        assert torch.equal(found.cpu(), expected)
        assert torch.equal(theirs.running_mean.cpu(), ours.running_mean)
        assert torch.equal(theirs.running_var.cpu(), ours.running_var)
    assert {one.state for one in outcomes()} == {"accepted"}


def test_an_op_of_another_library_runs_once(genie, outcomes, only):
    """It may count its calls, or anything."""
    only("dead_code")
    calls = []
    library = torch.library.Library("genie_passes", "DEF")
    library.define("count(Tensor x) -> Tensor")
    library.impl("count", lambda x: calls.append(1) or x.clone(), "CPU")
    library.impl("count", torch.empty_like, "Meta")
    there = torch.randn(3).to(genie)
    for _ in range(3):
        there.sin()
        torch.ops.genie_passes.count(there).cpu()
    assert len(calls) == 3
    assert outcomes() == []
