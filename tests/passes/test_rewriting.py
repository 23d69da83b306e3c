"""What the executor makes of rewrites: it believes none that it has not seen agree."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch.nn import functional

import genie_core
from genie_core import Match, Pattern


@attrs.frozen
class Swap:
    """Puts one op in the place of another; wrong on purpose, unless they agree."""

    name: str
    old: str
    new: str
    tolerance: float = 0.0

    def apply(self, graph):
        found = [node for node in graph.nodes if node.meta.get("op") == self.old]
        for node in found:
            node.meta["op"] = self.new
            node.target = getattr(torch.ops.aten, self.new.removeprefix("aten::")).default
        return len(found)


def plugin(*passes, patterns=(), annotate=None):
    class Plugin:
        @genie_core.hookimpl
        def genie_passes(self):
            return passes

        @genie_core.hookimpl
        def genie_patterns(self):
            return patterns

        @genie_core.hookimpl
        def genie_annotate(self, graph):
            if annotate is not None:
                annotate(graph)

    return Plugin()


def test_a_rewrite_that_differs_is_refused_unseen(genie, outcomes, only, plug):
    plug(plugin(Swap("wrong", "aten::sin", "aten::cos")), "wrong")
    only("wrong")
    x = torch.randn(5)
    for _ in range(4):
        assert torch.equal(x.to(genie).sin().cpu(), x.sin())
    found = outcomes()
    assert {one.state for one in found} == {"refused"}
    assert "tolerance" in found[0].reason
    assert found[0].error > 0


def test_one_that_is_within_its_tolerance_is_taken(genie, outcomes, only, plug):
    """exp2(x) for exp(x) at x near 0 is off by a third of x."""
    plug(plugin(Swap("near", "aten::exp", "aten::exp2", tolerance=0.01)), "near")
    only("near")
    x = torch.tensor([0.001, 0.0, -0.002])
    first, *later = [x.to(genie).exp().cpu() for _ in range(4)]
    assert torch.equal(first, x.exp())
    assert all(torch.equal(one, x.exp2()) for one in later)
    assert {one.state for one in outcomes()} == {"accepted"}


def test_a_pass_with_a_tolerance_is_off_unless_asked_for(genie, plug):
    plug(plugin(Swap("near", "aten::exp", "aten::exp2", tolerance=0.01)), "near")
    x = torch.tensor([0.001, 0.0, -0.002])
    for _ in range(3):
        assert torch.equal(x.to(genie).abs().exp().cpu(), x.abs().exp())


def test_an_error_inside_a_rewrite_refuses_it(genie, outcomes, only, plug):
    plug(plugin(Swap("broken", "aten::tan", "aten::inverse")), "broken")
    only("broken")
    x = torch.randn(5)
    for _ in range(3):
        assert torch.equal(x.to(genie).tan().cpu(), x.tan())
    assert {one.state for one in outcomes()} == {"refused"}


def test_a_pass_that_raises_costs_nobody_his_values(genie, only, plug, capsys):
    class Raises:
        name, tolerance = "raises", 0.0

        def apply(self, graph):
            raise ZeroDivisionError

    plug(plugin(Raises()), "raises")
    only("raises")
    x = torch.randn(5)
    assert torch.equal((x.to(genie) + 1).cpu(), x + 1)


def test_both_runs_start_from_the_same_values(genie, outcomes, only):
    """What the program writes, its rewrite must not write a second time."""
    only("dead_code")
    x = torch.arange(4.0)
    there = x.to(genie)
    generator = torch.Generator(genie).manual_seed(5)
    twin = torch.Generator().manual_seed(5)
    for _ in range(3):
        x.mul_(2).add_(torch.rand(4, generator=twin))
        there.sin()
        there.mul_(2).add_(torch.rand(4, generator=generator, device=genie))
        assert torch.equal(there.cpu(), x)
    assert {one.state for one in outcomes()} == {"accepted"}


# Replacements --------------------------------------------------------------------------------


def chain(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1) @ v


def spelled(q, k, v):
    """The same, for what is recorded of it: heads in one batch, keys the other way round."""
    return torch.softmax(q @ k * 0.25, -1) @ v


def fused(q, k, v):
    return functional.scaled_dot_product_attention(q[None], k[None].mT, v[None], scale=0.25)[0]


def found_chains(pattern):
    def annotate(graph):
        ops = [node for node in graph.nodes if "op" in node.meta]
        for index, node in enumerate(ops):
            if node.meta["op"] == "aten::_softmax":
                scores, _, _, values = own = ops[index - 2 : index + 2]
                inputs = {"q": scores.args[0], "k": scores.args[1], "v": values.args[1]}
                match = Match(pattern, tuple(own), inputs, (values,))
                values.meta["matches"] = [match]

    return annotate


@pytest.fixture
def attention(plug, only):
    pattern = Pattern("demo_attention", (spelled,), tuple, replacement=fused, tolerance=1e-5)
    plug(plugin(patterns=(pattern,), annotate=found_chains(pattern)), "chains")
    only("demo_attention")


@pytest.fixture
def rewritten(genie, outcomes):
    """Call a function there three times; returns what became of its rewrites."""

    def call(q, k, v, use):
        return _call(genie, outcomes, q, k, v, use)

    return call


def _call(genie, outcomes, q, k, v, use):
    results = [use(*(t.to(genie) for t in (q, k, v))).cpu() for _ in range(3)]
    assert torch.equal(results[0], use(q, k, v))
    torch.testing.assert_close(results[-1], use(q, k, v), rtol=1e-4, atol=1e-5)
    return outcomes()


def test_a_match_is_replaced_in_plain_pytorch(rewritten, attention):
    q, k, v = torch.randn(3, 2, 4, 16, 16)
    found = rewritten(q, k, v, chain)
    assert {one.state for one in found} == {"accepted"}
    assert 0 < max(one.error for one in found) <= 1e-5


def test_a_result_that_is_read_on_the_way_keeps_the_match(rewritten, attention):
    q, k, v = torch.randn(3, 2, 4, 16, 16)

    def use(q, k, v):
        weights = torch.softmax(q @ k.transpose(-1, -2) * 0.25, -1)
        return weights @ v + weights.sum()

    assert rewritten(q, k, v, use) == []


def test_results_keep_their_strides(rewritten, attention):
    q, k, v = torch.randn(3, 2, 4, 16, 16)

    def use(q, k, v):
        result = chain(q, k, v)
        result.transpose(1, 2)[0].mul_(2)
        return result.transpose(-1, -2).reshape(2, -1)

    found = rewritten(q, k, v, use)
    assert {one.state for one in found} == {"accepted"}


def test_a_replacement_that_cannot_take_the_tensors_leaves_the_match(rewritten, plug, only):
    def broken(q, k, v):
        raise RuntimeError("not for these")

    pattern = Pattern("demo_attention", (spelled,), tuple, replacement=broken)
    plug(plugin(patterns=(pattern,), annotate=found_chains(pattern)), "chains")
    only("demo_attention")
    q, k, v = torch.randn(3, 2, 4, 16, 16)
    assert rewritten(q, k, v, lambda *qkv: chain(*qkv) + 1) == []


def test_a_replacement_with_parameters_of_its_own_is_named(rewritten, plug, only, capsys):
    def unfit(q, k, value):
        return fused(q, k, value)

    pattern = Pattern("unfit", (spelled,), tuple, replacement=unfit)
    plug(plugin(patterns=(pattern,), annotate=found_chains(pattern)), "unfit")
    only("unfit")
    q, k, v = torch.randn(3, 2, 4, 16, 16)
    assert rewritten(q, k, v, lambda *qkv: chain(*qkv) + 2) == []
    said = capsys.readouterr().err
    assert "it takes value; the pattern has k, q, v" in said
    assert said.count("replacement.unfit") == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda q, k, v: torch.softmax(q @ k.transpose(-1, -2) * 0.5, -1) @ v,  # another number
        lambda q, k, v: torch.softmax(q @ k.transpose(-1, -2) - 0.25, -1) @ v,  # another op
    ],
)
def test_what_the_pattern_does_not_spell_keeps_the_match(rewritten, attention, use):
    q, k, v = torch.randn(3, 2, 4, 16, 16)
    assert rewritten(q, k, v, use) == []


def test_a_replacement_serves_sizes_that_vary(genie, outcomes, attention):
    """As the length of a key-value cache does."""
    q = torch.randn(2, 4, 1, 16)
    programs = genie_core.stats(genie).programs_built
    for length in range(5, 15):
        k, v = torch.randn(2, 2, 4, length, 16)
        found = chain(q.to(genie), k.to(genie), v.to(genie)).sigmoid().cpu()
        torch.testing.assert_close(found, chain(q, k, v).sigmoid(), rtol=1e-4, atol=1e-5)
    assert genie_core.stats(genie).programs_built - programs <= 3
    assert [one.state for one in outcomes()] == ["accepted"]  # that of the general program


@pytest.mark.parametrize("of", [lambda n: n - 1, lambda n: n % 2])
def test_one_that_depends_on_how_much_they_vary_does_not(genie, plug, only, rewritten, of):
    def odd(q, k, v):
        return fused(q, k, v) + of(k.shape[-1])  # the length: keys are the other way round

    pattern = Pattern("odd_attention", (spelled,), tuple, replacement=odd, tolerance=1e9)
    plug(plugin(patterns=(pattern,), annotate=found_chains(pattern)), "odd")
    only("odd_attention")
    q = torch.randn(2, 4, 1, 16)
    for length in range(5, 15):
        k, v = torch.randn(2, 2, 4, length, 16)
        found = chain(q.to(genie), k.to(genie), v.to(genie)).tan().cpu()
        if length > 6:  # from the second sight on the length is a lifted number
            torch.testing.assert_close(found, chain(q, k, v).tan())


def test_a_number_that_a_pass_relied_on_is_guarded(genie, outcomes, only, plug):
    """The rewrite is made for one value of a number that varies, and does not serve others."""

    @attrs.frozen
    class Settles:
        name: str = "settles"
        tolerance: float = 0.0

        def apply(self, graph):
            symbols = [node for node in graph.nodes if "symbol" in node.meta]
            for symbol in symbols:
                symbol.meta["guarded"] = True
                symbol.replace_all_uses_with(symbol.meta["example"])
            return len(symbols)

    plug(plugin(Settles()), "settles")
    only("settles")
    x = torch.randn(4)
    for shift in (1, 2, 3, 2, 0):
        assert torch.equal(x.to(genie).roll(shift).cpu(), x.roll(shift))
    assert {one.state for one in outcomes()} == {"accepted"}


# Replacements that write -----------------------------------------------------------------------


def grown(target, other):
    torch._foreach_mul_([target], 2.0)
    torch._foreach_add_([target], [other])


def found_growth(pattern):
    def annotate(graph):
        ops = [node for node in graph.nodes if node.meta.get("op") in ("aten::mul_.Tensor", _ADD)]
        if len(ops) == 2:
            target, other = ops[1].args
            inputs = {"target": target, "other": other}
            match = Match(pattern, tuple(ops), inputs, writes=("target",))
            ops[1].meta["matches"] = [match]

    return annotate


_ADD = "aten::add_.Tensor"


@pytest.fixture
def growth(genie, outcomes, plug, only):
    """Call a function of two tensors four times, and compare all that it leaves with the CPU's."""

    def call(function, replacement=grown):
        pattern = Pattern("growth", (), tuple, replacement=replacement, tolerance=1e-6)
        plug(plugin(patterns=(pattern,), annotate=found_growth(pattern)), "growth")
        only("growth")
        there, here = (torch.arange(8.0).to(device) for device in (genie, "cpu"))
        for _ in range(4):
            ours, theirs = function(there), function(here)
            assert torch.equal(ours.cpu(), theirs)
            assert torch.equal(there.cpu(), here)
        return [one.state for one in outcomes()]

    return call


def test_a_replacement_may_write_what_the_match_writes(growth):
    def function(x):
        y = x.sin()
        x.mul_(2).add_(y)
        return x + 1

    assert growth(function) == ["accepted"]


def test_not_where_somebody_reads_what_is_written_before_the_end(growth):
    def function(x):
        y = x.sin()
        x.mul_(2)
        z = x.cos()
        x.add_(y)
        return z

    assert growth(function) == []


def test_not_where_two_of_its_inputs_are_on_one_storage(growth):
    def function(x):
        x[:4].mul_(2).add_(x[4:])
        return x.tan()

    assert growth(function) == []


def test_not_what_the_match_does_not_write(growth):
    def greedy(target, other):
        torch._foreach_add_([other], [target])

    def function(x):
        y = x.exp()
        x.mul_(2).add_(y)
        return x - 1

    assert growth(function, greedy) == []
