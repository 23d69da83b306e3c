"""What a graph says of training: phases, and the forward node of each backward node."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import nn

from genie_core import session
from genie_core.dispatcher import dispatcher


@attrs.frozen
class Op:
    """A recorded op of a program."""

    name: str
    phase: str
    forward: tuple[int, int] | None


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[Op]]:
    """The ops of each program that is seen first during the test, in order, by its number."""
    found: dict[int, list[Op]] = {}
    encode = session.encode_graph

    def noting(graph: torch.fx.Graph, sealed: Any) -> Any:
        found[sealed.program] = [
            Op(
                node.meta["op"].removeprefix("aten::").partition(".")[0],
                node.meta["genie"].phase,
                node.meta["genie"].forward,
            )
            for node in graph.nodes
            if "mark" in node.meta
        ]
        return encode(graph, sealed)

    monkeypatch.setattr(session, "encode_graph", noting)
    return found


# Whose gradient an op of a backward computes.
BACKWARD_OF = {
    "threshold_backward": {"relu"},
    "tanh_backward": {"tanh"},
    "gelu_backward": {"gelu"},
    "_log_softmax_backward_data": {"_log_softmax"},
    "nll_loss_backward": {"nll_loss_forward"},
    "native_layer_norm_backward": {"native_layer_norm"},
    "embedding_dense_backward": {"embedding", "index_select"},
    "mm": {"addmm", "mm"},
}


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 7)
        self.norm = nn.LayerNorm(7)
        self.first, self.last = nn.Linear(7, 13), nn.Linear(13, 5)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(self.norm(self.embed(tokens)))))


@pytest.fixture
def device(device: torch.device) -> torch.device:
    if device.type == "cpu":
        pytest.skip("a rehearsal records nothing")
    return torch.empty(0, device=device).device


def train(device: torch.device, *, look_between: bool) -> None:
    torch.manual_seed(3)
    model = Model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    tokens = torch.arange(10, device=device) % 11
    torch.remote_accelerator.synchronize(device)
    loss = nn.functional.cross_entropy(model(tokens), tokens % 5)
    if look_between:
        loss.item()
    loss.backward()
    optimizer.step()
    torch.remote_accelerator.synchronize(device)


def name_of(reference: tuple[int, int], programs: dict[int, list[Op]]) -> str:
    program, index = reference
    return programs[program][index].name


@pytest.mark.parametrize("look_between", [False, True], ids=["one program", "two programs"])
def test_each_op_of_a_training_step_has_its_phase_and_its_forward(device, programs, look_between):
    train(device, look_between=look_between)
    ops = [op for program in programs.values() for op in program]
    phases = {phase: [op for op in ops if op.phase == phase] for phase in {op.phase for op in ops}}
    assert {"forward", "backward", "optimizer"} == set(phases)
    assert {"native_layer_norm", "relu", "addmm", "nll_loss_forward"} <= {
        op.name for op in phases["forward"]
    }
    assert any("_foreach" in op.name or "adam" in op.name for op in phases["optimizer"])
    assert not any(op.forward for op in phases["forward"] + phases["optimizer"])
    checked = set()
    for op in phases["backward"]:
        if op.name in BACKWARD_OF:
            assert op.forward is not None, op
            assert name_of(op.forward, programs) in BACKWARD_OF[op.name], op
            checked.add(op.name)
    assert checked == set(BACKWARD_OF) - {"tanh_backward", "gelu_backward"}
    tied = [op for op in phases["backward"] if op.forward is not None]
    roots = len(phases["backward"]) - len(tied)  # the gradient of the loss itself: ones
    assert roots <= 1, [op for op in phases["backward"] if op.forward is None]


def test_a_step_that_raises_ends_its_phase_with_the_next_one(device, programs):
    weight = torch.ones(3, device=device, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def closure() -> torch.Tensor:
        raise KeyError("mine")

    with pytest.raises(KeyError):
        optimizer.step(closure)
    weight.sum().backward()
    optimizer.step()
    torch.remote_accelerator.synchronize(device)
    (weight.detach() * 3.0).tan().cpu()
    last = [op for program in programs.values() for op in program][-1]
    assert (last.name, last.phase) == ("tan", "forward")


def test_contexts_are_the_threads_own(device, programs):
    import threading

    from genie_core.context import working

    x = torch.ones(4, device=device)

    def other() -> None:
        x.atan().sum().item()

    with working(phase="optimizer"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        x.asin().sum().item()
    found = {op.name: op.phase for program in programs.values() for op in program}
    assert found["atan"] == "forward"
    assert found["asin"] == "optimizer"
    assert dispatcher.session(device.index)
