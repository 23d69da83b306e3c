"""The module of each op: against hooks on the same model on the CPU, and by hand."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from semantics import models
from semantics.recording import Truth
from torch import nn

Work = Callable[[nn.Module, torch.device], Any]
IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def train_language(model: nn.Module, device: torch.device) -> torch.Tensor:
    given = models.tokens(2, 7).to(device)
    return model(input_ids=given, labels=given).loss


def generate(model: nn.Module, device: torch.device) -> torch.Tensor:
    return model.generate(models.tokens(1, 4).to(device), max_new_tokens=3, do_sample=False)


WORK: dict[str, tuple[Callable[[], nn.Module], Work, bool]] = {
    "GPT-2, training": (models.gpt2, train_language, True),
    "GPT-2, generate": (models.gpt2, generate, False),
    "GPT-2 with SDPA, generate": (lambda: models.gpt2("sdpa"), generate, False),
    "T5, training": (models.t5, train_language, True),
    "T5, generate": (models.t5, generate, False),
    "CNN, training": (models.CNN, lambda model, d: model(IMAGES.to(d)), True),
    "CNN, eval": (models.CNN, lambda model, d: model(IMAGES.to(d)), False),
    "LSTM, training": (models.LSTM, lambda model, d: model(models.tokens(2, 5).to(d)), True),
    "LSTM, eval": (models.LSTM, lambda model, d: model(models.tokens(2, 5).to(d)), False),
}


@pytest.mark.parametrize("name", WORK)
def test_each_forward_op_is_of_the_module_that_the_hooks_say(name, device, recording, synchronize):
    make, work, train = WORK[name]
    local = make().train(train)
    remote = copy.deepcopy(local).to(device)
    torch.manual_seed(5)
    with Truth(local) as truth, torch.set_grad_enabled(train):
        work(local, torch.device("cpu"))
    for _ in range(2):  # the executor is asked for some ops' strides, once
        recording.forget()
        torch.manual_seed(5)
        with torch.set_grad_enabled(train):
            work(remote, device)
        synchronize()
    names = {name for name, _ in local.named_modules()}
    found = {
        name: [known(path, names) for path in paths] for name, paths in recording.modules().items()
    }
    checked = same_modules(found, dict(truth.modules), whole=train)
    assert len(checked) >= 4, checked


def known(path: str | None, names: set[str]) -> str | None:
    """As hooks on the model's modules see it: one that is not among them is its caller's.

    A part of the model that is called by itself, T5's encoder in `generate`, is its own root.
    """
    if path is None or path in names:
        return path
    within = f"encoder.{path}".rstrip(".")
    return within if within in names else path.rpartition(".")[0]


def same_modules(
    found: dict[str, list[str | None]], truth: dict[str, list[str | None]], *, whole: bool
) -> set[str]:
    """Names of the ops that both recorded alike; asserts that their modules agree.

    The rounds of a generation after the second are no first sights: theirs is a part of the truth.
    """
    checked = set()
    for name in set(truth) & set(found):
        if len(truth[name]) == len(found[name]):
            assert found[name] == truth[name], name
            checked.add(name)
        elif not whole and len(found[name]) < len(truth[name]):
            assert set(found[name]) <= set(truth[name]), name
            checked.add(name)
    return checked


def step(device: torch.device, model: nn.Module, synchronize: Callable[[], None]) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    synchronize()
    train_language(model, device).backward()
    optimizer.step()
    synchronize()


def test_a_training_step_of_gpt2_is_told_whole(device, recording, synchronize):
    model = models.gpt2(layers=12).to(device)
    recording.forget()
    step(device, model, synchronize)
    forward = [node.meta["genie"] for node in recording.of_phase("forward")]
    backward = [node.meta["genie"] for node in recording.of_phase("backward")]
    assert min(len(forward), len(backward)) > 100  # equal blocks are one program
    assert all(known.module is not None and known.role and known.origin for known in forward)
    told = [known for known in backward if known.module is not None and known.role]
    assert len(told) >= 0.98 * len(backward)
    types = {name: type(module).__name__ for name, module in model.named_modules()}
    for known in forward + told:
        assert known.root == "GPT2LMHeadModel"
        assert known.module_type in (types[known.module], "")


def test_backward_ops_have_module_and_line_of_their_forward(device, recording, synchronize):
    model = models.gpt2().to(device)
    recording.forget()
    step(device, model, synchronize)
    norms = recording.named("native_layer_norm_backward")
    assert [n.meta["genie"].module for n in norms] == [
        "transformer.ln_f",
        *[f"transformer.h.{layer}.ln_{part}" for layer in (1, 0) for part in (2, 1)],
    ]
    forwards = {
        n.meta["genie"].module: n.meta["genie"] for n in recording.named("native_layer_norm")
    }
    for node in norms:
        known = node.meta["genie"]
        assert known.origin == forwards[known.module].origin
        assert known.module_type == "LayerNorm"
        assert known.where.endswith(f"(GPT2LMHeadModel.{known.module}, backward)")


def test_sums_of_gradients_are_of_the_module_whose_output_they_belong_to(
    device, recording, synchronize
):
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.left, self.right = (nn.Linear(3, 3) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.first(x)
            return self.left(y) * self.right(y)

    model = Twice().to(device)
    model(torch.ones(2, 3, device=device)).sum().backward()
    synchronize()
    (added,) = [n for n in recording.of_phase("backward") if n.meta["op"].startswith("aten::add")]
    assert added.meta["genie"].module == "first"
    assert added.meta["genie"].role == "gradient"


def test_gradients_that_accumulate_are_of_their_parameter(device, recording, synchronize):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(device)
    for _ in range(2):
        synchronize()
        model(torch.ones(2, 3, device=device)).sum().backward()
    synchronize()
    sums = [n.meta["genie"] for n in recording.named("add_")]
    assert {known.parameters for known in sums} == {(n,) for n, _ in model.named_parameters()}
    assert {known.role for known in sums} == {"gradient"}
    assert {known.module for known in sums} == {"0", "1"}


@pytest.mark.parametrize("foreach", [False, True])
def test_optimizer_ops_name_their_parameters(foreach, device, recording, synchronize):
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), foreach=foreach)
    for _ in range(2):
        model(torch.ones(2, 3, device=device)).sum().backward()
        synchronize()
        recording.forget()
        optimizer.step()
        synchronize()
    nodes = [node.meta["genie"] for node in recording.of_phase("optimizer")]
    names = {name for name, _ in model.named_parameters()}
    assert {name for known in nodes for name in known.parameters} == names
    updates = [known for known in nodes if known.role == "weight"]
    assert {name for known in updates for name in known.parameters} == names
    if foreach:
        assert {known.module for known in updates} == {""}  # of both layers
    else:
        assert [known.module for known in updates] == ["0", "0", "1", "1"]
    assert any(known.role == "optimizer_state" for known in nodes)


def test_an_op_outside_of_any_module_says_so(device, recording, synchronize):
    layer = nn.Linear(3, 3).to(device)
    (layer(torch.ones(2, 3, device=device)) * 2.0).tan()
    synchronize()
    (inside,) = recording.named("addmm")
    (outside,) = recording.named("tan")
    assert (inside.meta["genie"].module, inside.meta["genie"].root) == ("", "Linear")
    assert outside.meta["genie"].module is None
    assert outside.meta["genie"].role == "activation"


def test_modules_that_are_not_below_their_root_go_by_their_type(device, recording, synchronize):
    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [nn.Linear(3, 3)]  # not registered
            self.known = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.known(self.layers[0](x))

    model = Hidden()
    model.layers[0].to(device)
    model(torch.ones(2, 3, device=device))
    synchronize()
    modules = {node.meta["op"]: node.meta["genie"].module for node in recording.ops}
    assert modules["aten::addmm"] == "Linear"
    assert modules["aten::relu"] == "known"


def test_a_module_that_moved_goes_by_its_new_name(device, recording, synchronize):
    class Wrapped(nn.Module):
        def __init__(self, base: nn.Module) -> None:
            super().__init__()
            self.base = base

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x)

    model = nn.Sequential(nn.Linear(3, 3)).to(device)
    x = torch.ones(2, 3, device=device)
    model(x.asin())
    model[0] = Wrapped(model[0])
    model(x.acos())
    synchronize()
    assert [n.meta["genie"].module for n in recording.named("addmm")] == ["0", "0.base"]


def test_forward_called_by_hand_counts_as_a_call(device, recording, synchronize):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).to(device)
    model.forward(torch.ones(2, 3, device=device))
    synchronize()
    (node,) = recording.named("tanh")
    assert (node.meta["genie"].root, node.meta["genie"].module) == ("Sequential", "1")


def test_ops_of_a_checkpoint_that_run_again_are_of_their_module(device, recording, synchronize):
    from torch.utils.checkpoint import checkpoint, set_device_states

    if "device_type" not in inspect.signature(set_device_states).parameters:
        pytest.skip("this torch's checkpoint takes every device's random state for CUDA's")
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh()).to(device)
    checkpoint(model, torch.ones(2, 3, device=device), use_reentrant=False).sum().backward()
    synchronize()
    again = [n.meta["genie"] for n in recording.named("tanh")]
    assert [(known.phase, known.module) for known in again] == [("forward", "1"), ("backward", "1")]
    assert [known.role for known in again] == ["activation", "activation"]


def test_each_op_of_a_trace_that_leaves_a_known_program_has_its_origin(
    device, recording, synchronize
):
    x = torch.ones(3, device=device)
    for last in ("cos", "sin"):
        synchronize()
        y = x.exp2().expm1().erf()
        getattr(y, last)()
        torch.empty(2, device=device).fill_(1)
    synchronize()
    assert {node.meta["op"] for node in recording.ops} >= {"aten::cos", "aten::sin", "genie::alloc"}
    assert all("in test_each_op_of_a_trace" in n.meta["genie"].origin for n in recording.ops)


def test_equal_blocks_are_each_their_own(device, recording, synchronize):
    """The second begins as the first did, and goes on otherwise: a known program's prefix."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.tanh(self.norm(self.linear(x)))

    model = nn.ModuleList([Block(), Block()]).to(device)
    x = torch.ones(2, 4, device=device)
    recording.forget()
    for block, last in zip(model, ("sin", "cos"), strict=True):

        class Whole(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layers = model

            def forward(self, x: torch.Tensor, block=block, last=last) -> torch.Tensor:
                return getattr(block(x), last)()

        whole = Whole()
        whole(x)
        synchronize()
    found = recording.modules()
    assert found["addmm"] == ["layers.0.linear", "layers.1.linear"]
    assert found["native_layer_norm"] == ["layers.0.norm", "layers.1.norm"]
    assert found["tanh"] == ["layers.0", "layers.1"]


def test_a_trace_that_ends_within_a_known_program_has_its_origins(device, recording, synchronize):
    x = torch.ones(3, device=device)
    recording.forget()
    for more in (True, False):
        synchronize()
        y = x.exp2().log1p()
        if more:
            y.atan()
        synchronize()
    assert len(recording.graphs) == 2
    assert all("in test_a_trace_that_ends" in node.meta["genie"].origin for node in recording.ops)


def test_a_question_and_steps_of_the_core_have_origins(device, recording, synchronize):
    x = torch.ones(3, device=device)
    synchronize()
    (x > 0).nonzero()
    torch.remote_accelerator.manual_seed(3)
    x.exponential_()
    torch.empty(2, 2, device=device).cpu()
    synchronize()
    assert {"nonzero", "seed", "alloc"} <= {
        node.meta["op"].partition("::")[2].partition(".")[0] for node in recording.ops
    }
    assert all("in test_a_question" in node.meta["genie"].origin for node in recording.ops)


def test_the_forward_is_never_of_another_phase(device, recording, synchronize):
    model = models.CNN().to(device)
    model(IMAGES.to(device)).sum().backward()
    synchronize()
    assert {node.meta["genie"].phase for node in recording.ops} == {"forward", "backward"}
