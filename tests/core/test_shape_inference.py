"""What an op's outputs look like: third parties, meta kernels, fake tensors, or the executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
import torch
from conformance.compare import difference

import genie_core
from genie_core import TensorSpec, plugins
from genie_core.errors import OpRaised, PluginError
from genie_plugins.shape_inference import fake, unreliable

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shapes() -> Iterator[Any]:
    """Ops of a third party, known to this process and so to the executor in it."""
    library = torch.library.Library("genie_shapes", "DEF")

    def define(
        schema: str, run: Callable[..., Any], meta: Callable[..., Any] | None = None
    ) -> None:
        library.define(schema)
        name = schema.partition("(")[0]
        library.impl(name, run, "CPU")
        if meta is not None:
            library.impl(name, meta, "Meta")

    define("twice(Tensor x) -> Tensor", lambda x: x * 2, torch.empty_like)
    define("plain(Tensor x, int n) -> Tensor", lambda x, n: x.repeat(n))
    define("positive(Tensor x) -> Tensor", lambda x: x[x > 0])
    define("pair(Tensor x) -> (Tensor, Tensor)", lambda x: (x + 1, x.sum()))
    define("pieces(Tensor x) -> Tensor[]", lambda x: [x[:1] + 0, x[1:] + 0])
    define("bump_(Tensor(a!) x) -> Tensor(a!)", lambda x: x.add_(1))
    define("size_of(Tensor x) -> int", lambda x: x.numel())
    define(
        "resample(Tensor x, float rate) -> Tensor",
        lambda x, rate: x[: int(rate)] + 0,
        lambda x, rate: x.new_empty(int(rate)),
    )
    define("wrong(Tensor x) -> Tensor", lambda x: x + 1, lambda x: x.new_empty(x.shape[0] + 1))
    yield torch.ops.genie_shapes
    library._destroy() if hasattr(library, "_destroy") else None


class Rules:
    """A plugin whose rules are set by the test; notes what it was asked."""

    def __init__(self) -> None:
        self.rules: dict[str, Callable[[Any], Any]] = {}
        self.asked: list[str] = []

    @genie_core.hookimpl
    def genie_infer_outputs(self, call: Any) -> Any:
        self.asked.append(call.name)
        rule = self.rules.get(call.name)
        return rule(call) if rule else None


@pytest.fixture
def rules(device: torch.device) -> Iterator[Rules]:
    found = Rules()
    registry = plugins.manager()._pluggy
    registry.register(found, name="rules")
    yield found
    registry.unregister(found)


def test_a_meta_kernel_answers_once(shapes: Any, flow: Any, rules: Rules) -> None:
    x = torch.arange(37.0).to(flow.device)

    def work() -> None:
        for _ in range(3):
            y = shapes.twice(x)
            assert (y.shape, y.stride(), y.dtype) == ((37,), (1,), torch.float32)

    grown = flow.during(work)
    assert grown["flushes"] == {}
    assert rules.asked == ["genie_shapes::twice"]
    assert shapes.twice(x).tolist() == (torch.arange(37.0) * 2).tolist()


def test_without_a_meta_kernel_the_executor_is_asked_each_time(shapes: Any, flow: Any) -> None:
    assert flow.session.supports("genie_shapes::plain")  # a round trip of its own, once
    for length in (3, 4):
        x = torch.arange(float(length)).to(flow.device)
        flow.settle()
        found = []
        grown = flow.during(lambda x=x, found=found: found.append(shapes.plain(x, 2)))
        assert grown["flushes"] == {"unknown_shape": 1}
        assert grown["round_trips"] == 1
        assert found[0].tolist() == list(range(length)) * 2


@pytest.mark.parametrize("values", [[1.0, -1.0, 2.0], [-1.0, -1.0, -1.0], [3.0, 3.0, 3.0]])
def test_shapes_that_depend_on_data(shapes: Any, flow: Any, values: list[float]) -> None:
    x = torch.tensor(values).to(flow.device)
    y = shapes.positive(x)
    expected = [value for value in values if value > 0]
    assert y.shape == (len(expected),)
    assert (y + 1).tolist() == [value + 1 for value in expected]


def test_several_outputs_lists_and_numbers(shapes: Any, flow: Any) -> None:
    x = torch.arange(3.0).to(flow.device)
    one, total = shapes.pair(x)
    first, rest = shapes.pieces(x)
    assert (one.tolist(), total.item()) == ([1.0, 2.0, 3.0], 3.0)
    assert (first.tolist(), rest.tolist()) == ([0.0], [1.0, 2.0])
    assert shapes.size_of(x) == 3
    view = x[1:]
    assert shapes.bump_(view) is view
    assert x.tolist() == [0.0, 2.0, 3.0]


def test_a_third_partys_rule_comes_first(shapes: Any, flow: Any, rules: Rules) -> None:
    rules.rules["genie_shapes::plain"] = lambda call: [
        TensorSpec(torch.float32, (2 * call.arguments()[0][0].shape[0],), (1,))
    ]
    x = torch.arange(41.0).to(flow.device)
    grown = flow.during(lambda: [shapes.plain(x, 2) for _ in range(3)])
    assert rules.asked == ["genie_shapes::plain"]
    assert grown["flushes"] == {}
    assert shapes.plain(x, 2).tolist() == torch.arange(41.0).repeat(2).tolist()


def test_a_rule_may_take_the_meta_kernels_word(shapes: Any, flow: Any, rules: Rules) -> None:
    rules.rules["genie_shapes::twice"] = lambda call: call.infer_meta()
    x = torch.arange(43.0).to(flow.device)
    assert flow.during(lambda: shapes.twice(x))["flushes"] == {}
    assert shapes.twice(x).sum().item() == 43 * 42


def test_a_rule_may_have_the_executor_asked_once(shapes: Any, flow: Any, rules: Rules) -> None:
    rules.rules["genie_shapes::plain"] = lambda call: call.ask_once()
    x = torch.arange(47.0).to(flow.device)
    flow.settle()
    assert flow.during(lambda: shapes.plain(x, 3))["round_trips"] == 1
    grown = flow.during(lambda: [shapes.plain(x, 3) for _ in range(4)])
    assert grown["round_trips"] == 0
    assert shapes.plain(x, 3).tolist() == torch.arange(47.0).repeat(3).tolist()


def test_rules_for_lists_and_pairs(shapes: Any, flow: Any, rules: Rules) -> None:
    spec = TensorSpec(torch.float32, (53,), (1,))
    rules.rules["genie_shapes::pair"] = lambda call: [spec, TensorSpec(torch.float32, (), ())]
    rules.rules["genie_shapes::pieces"] = lambda call: [
        TensorSpec(torch.float32, (1,), (1,)),
        TensorSpec(torch.float32, (52,), (1,)),
    ]
    rules.rules["genie_shapes::bump_"] = lambda call: [
        TensorSpec(torch.float32, (53,), (1,), alias=0)
    ]
    x = torch.arange(53.0).to(flow.device)

    def work() -> Any:
        y = shapes.bump_(x)
        assert y is x
        return [*shapes.pair(y), *shapes.pieces(y)]

    found = []
    assert flow.during(lambda: found.extend(work()))["flushes"] == {}
    y = torch.arange(53.0) + 1
    for got, want in zip(found, [y + 1, y.sum(), y[:1], y[1:]], strict=True):
        assert torch.equal(got.cpu(), want)


def test_a_rule_with_too_few_outputs_is_named(shapes: Any, flow: Any, rules: Rules) -> None:
    rules.rules["genie_shapes::pair"] = lambda call: [TensorSpec(torch.float32, (), ())]
    with pytest.raises(RuntimeError, match="genie_shapes::pair: 2 outputs expected, 1 inferred"):
        shapes.pair(torch.ones(59, device=flow.device))


def test_what_a_rule_raises(shapes: Any, flow: Any, rules: Rules) -> None:
    def refuse(call: Any) -> Any:
        raise OpRaised(IndexError("not with this"))

    def broken(call: Any) -> Any:
        raise KeyError("oops")

    x = torch.ones(61, device=flow.device)
    rules.rules["genie_shapes::twice"] = refuse
    with pytest.raises(IndexError, match="not with this"):
        shapes.twice(x)
    rules.rules["genie_shapes::twice"] = broken
    with pytest.raises(PluginError, match="rules.*genie_infer_outputs"):
        shapes.twice(x)
    rules.rules.clear()
    assert shapes.twice(x).sum().item() == 122.0


def test_a_promise_that_the_op_breaks_is_an_error_at_the_read(shapes: Any, flow: Any) -> None:
    y = shapes.wrong(torch.ones(4, device=flow.device))
    with pytest.raises(genie_core.GenieError, match=r"genie_shapes::wrong.*\[4\].*promised.*\[5\]"):
        y.tolist()


def test_a_float_may_decide_the_shape(shapes: Any, flow: Any) -> None:
    x = torch.arange(5.0).to(flow.device)
    for rate in (2.0, 4.0, 2.0, 1.0):
        y = shapes.resample(x, rate)
        assert y.shape == (int(rate),)
        assert y.tolist() == list(range(int(rate)))


# Fake tensors -------------------------------------------------------------------------------------


class Call:
    """What `infer_fake` needs of a call."""

    def __init__(self, name: str, *args: Any, **kwargs: Any) -> None:
        self.name = name
        self._arguments = args, kwargs

    def arguments(self) -> Any:
        return self._arguments


def test_fake_tensors_tell_sizes_and_strides(device: torch.device) -> None:
    x = torch.ones(3, 4, device=device).t()
    (spec,) = fake.infer_fake(Call("aten::add.Tensor", x, 2.5)) or ()
    assert spec == TensorSpec(torch.float32, (4, 3), (1, 4))
    values, indices = fake.infer_fake(Call("aten::sort", x, 1)) or ()
    assert (values.size, indices.dtype) == ((4, 3), torch.int64)
    (made,) = fake.infer_fake(Call("aten::zeros_like", x, device=device)) or ()
    assert made.stride == (1, 4)


def test_fake_tensors_know_nothing_of(device: torch.device, shapes: Any, capfd: Any) -> None:
    x = torch.ones(3, device=device)
    for call in (
        Call("aten::nonzero", x),
        Call("aten::add_.Tensor", x, 1),
        Call("aten::equal", x, x),
        Call("aten::mm", x, x),
        Call("genie_shapes::positive", x),
        Call("genie_shapes::size_of", x),
    ):
        assert fake.infer_fake(call) is None, call.name
    assert capfd.readouterr().err == ""


# Meta kernels that err ----------------------------------------------------------------------------

STRIDES: dict[str, Callable[[torch.Tensor], Any]] = {
    "rfft": lambda x: torch.fft.rfft(x, dim=0),
    "fft2": lambda x: torch.fft.fft2(x.to(torch.complex64)),
    "irfft": lambda x: torch.fft.irfft(x.to(torch.complex64), dim=0),
    "svd": lambda x: [part.abs() for part in torch.linalg.svd(x)],
    "eigh": lambda x: torch.linalg.eigh(x[:3] @ x[:3].mT)[0],
    "lstsq": lambda x: torch.linalg.lstsq(x.mT @ x + torch.eye(3, device=x.device), x.mT).solution,
    "batch_norm in evaluation": lambda x: torch.nn.functional.batch_norm(
        x, x.mean(0), x.var(0), training=False
    ),
    "embedding_bag": lambda x: torch.nn.functional.embedding_bag(
        torch.tensor([[0, 1], [2, 1]]).to(x.device), x
    ),
}


@pytest.mark.parametrize("name", STRIDES)
def test_unreliable_meta_kernels_are_not_believed(name: str, flow: Any) -> None:
    source = torch.arange(1.0, 13.0).view(4, 3).sin() + torch.eye(4, 3)
    work = STRIDES[name]
    x = source.to(flow.device)
    assert difference(work(source), work(x), values=False) == ""
    flow.settle()
    grown = flow.during(lambda: work(x))
    assert grown["flushes"].get("unknown_shape", 0) == 0
    assert difference(work(source), work(x), values=False) == ""
    for want, got in zip(listed(work(source)), listed(work(x)), strict=True):
        torch.testing.assert_close(got.cpu(), want)  # lstsq varies in its last bit by itself


def listed(value: Any) -> list[torch.Tensor]:
    return value if isinstance(value, list) else [value]


@attrs.frozen
class Seen:
    """As much of an OpCall as is looked at."""

    name: str
    tensors: tuple[torch.Tensor, ...] = ()

    def arguments(self) -> tuple[Any, dict[str, Any]]:
        return self.tensors, {}


def test_which_are_unreliable() -> None:
    flat, short = torch.ones(2, 2), torch.ones(2, 2, dtype=torch.bfloat16)
    spread = torch.ones((), dtype=torch.bfloat16).expand(2, 2)
    for name, tensors, wanted in [
        ("aten::_fft_r2c", (), True),
        ("aten::_embedding_bag", (), True),
        ("aten::native_layer_norm", (flat,), False),
        ("aten::native_layer_norm", (short,), True),
        ("aten::mul.Tensor", (flat, flat), False),
        ("aten::mul.Tensor", (short, short), False),
        ("aten::mul.Tensor", (spread, short), True),
        ("aten::mul_.Tensor", (spread, short), False),
    ]:
        assert unreliable.is_unreliable(Seen(name, tensors)) is wanted, name


def test_an_out_is_known_by_its_declaration() -> None:
    assert unreliable.has_out("aten::_linalg_svd.U")
    assert unreliable.has_out("aten::_fft_r2c.out")
    assert not unreliable.has_out("aten::add_.Tensor")


@pytest.mark.parametrize("function", [torch.sort, torch.linalg.qr])
@pytest.mark.parametrize("strided", [False, True])
def test_an_out_keeps_its_strides_or_gets_the_real_kernels(
    function: Any, strided: bool, device: torch.device
) -> None:
    def work(where: torch.device) -> list[torch.Tensor]:
        x = torch.arange(9.0).view(3, 3).cos().to(where)
        found = []
        for _ in range(2):  # learnt wrongly the first time, it would show the second
            like = function(x)
            outs = [
                torch.empty_like(part.t()).t() if strided else part.new_empty(0) for part in like
            ]
            function(x, out=tuple(outs))
            found += outs
        return found

    assert difference(work(torch.device("cpu")), work(device)) == ""


def test_lists_of_tensors_are_asked_about_once_at_most(flow: Any) -> None:
    tensors = [torch.ones(3, device=flow.device), torch.ones(2, 2, device=flow.device)]

    def work() -> list[torch.Tensor]:
        torch._foreach_div_(tensors, [2.0, 4.0])
        return torch._foreach_sigmoid(torch._foreach_mul(tensors, [2.0, 3.0]))

    work()
    found: list[Any] = []
    grown = flow.during(lambda: found.extend(work() for _ in range(3)))
    assert "unknown_shape" not in grown["flushes"]
    assert torch.equal(found[-1][1].cpu(), torch.full((2, 2), 3 / 4**4).sigmoid())


@pytest.mark.parametrize("op", ["add_", "sub_", "mul_", "div_"])
def test_a_result_that_the_operand_cannot_hold_is_an_error_at_the_call(
    op: str, device: torch.device
) -> None:
    said = []
    for where in (torch.device("cpu"), device):
        with pytest.raises(RuntimeError, match="can't be cast") as raised:
            getattr(torch.ones(2, device=where, dtype=torch.int64), op)(0.5)
        said.append(str(raised.value).splitlines()[0])
    assert said[0] == said[1]
