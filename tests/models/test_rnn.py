"""Recurrent modules on a CPU executor: the CPU's bits, whichever kernel the CPU would choose."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

CPU = torch.device("cpu")
MODULES: dict[str, Callable[..., nn.RNNBase]] = {
    "tanh": lambda *a, **o: nn.RNN(*a, nonlinearity="tanh", **o),
    "relu": lambda *a, **o: nn.RNN(*a, nonlinearity="relu", **o),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "no_bias": {"bias": False, "batch_first": True},
    "deep": {"num_layers": 3, "dropout": 0.4},
    "both_ways": {"num_layers": 2, "bidirectional": True, "batch_first": True, "dropout": 0.3},
}
DTYPES = [torch.float32, torch.float64, torch.bfloat16]


def batch(module: nn.RNNBase) -> torch.Tensor:
    shape = (4, 5, 6) if module.batch_first else (5, 4, 6)
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(7))
    return inputs.to(next(module.parameters()).dtype)


def leaves(outputs: Any) -> list[torch.Tensor]:
    data, hidden = outputs
    data = data.data if isinstance(data, nn.utils.rnn.PackedSequence) else data
    return [data, *(hidden if isinstance(hidden, tuple) else [hidden])]


def with_gradients(module: nn.RNNBase, where: torch.device, packed: bool) -> list[torch.Tensor]:
    """Outputs, final states, and the gradients of inputs and parameters."""
    inputs = batch(module).to(where).requires_grad_()
    module = module.to(where)
    torch.manual_seed(2)
    lengths = torch.tensor([3, 5, 5, 1])
    given = (
        pack_padded_sequence(inputs, lengths, module.batch_first, enforce_sorted=False)
        if packed
        else inputs
    )
    outputs = leaves(module(given))
    sum(output.square().sum() for output in outputs).backward()  # type: ignore[union-attr]
    found = [inputs.grad, *(parameter.grad for parameter in module.parameters())]
    return [output.detach() for output in outputs] + [grad for grad in found if grad is not None]


def made(kind: str, shape: str, dtype: torch.dtype = torch.float32, **options: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return MODULES[kind](6, 4, dtype=dtype, **SHAPES[shape], **options)


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", MODULES)
def test_outputs_and_gradients(
    kind: str, shape: str, dtype: torch.dtype, packed: bool, device: torch.device
) -> None:
    want, got = (with_gradients(made(kind, shape, dtype), w, packed) for w in (CPU, device))
    assert difference(want, got, device.type) == ""


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("shape", SHAPES)
def test_projections(shape: str, packed: bool, device: torch.device) -> None:
    want, got = (with_gradients(made("lstm", shape, proj_size=3), w, packed) for w in (CPU, device))
    assert difference(want, got, device.type) == ""


@pytest.mark.parametrize("kind", MODULES)
def test_without_onednn(kind: str, device: torch.device) -> None:
    with torch.backends.mkldnn.flags(enabled=False):
        want, got = (with_gradients(made(kind, "both_ways"), w, False) for w in (CPU, device))
    assert difference(want, got, device.type) == ""


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float16], ids=str)
@pytest.mark.parametrize("kind", MODULES)
def test_inference(kind: str, dtype: torch.dtype, mode: Any, device: torch.device) -> None:
    def run(where: torch.device) -> list[torch.Tensor]:
        module = made(kind, "both_ways", dtype).eval()
        inputs = batch(module).to(where)
        module = module.to(where)
        with mode():
            return leaves(module(inputs))

    try:
        want = run(CPU)
    except RuntimeError as error:
        pytest.skip(f"the CPU cannot: {error}")
    assert difference(want, run(device), device.type) == ""


@pytest.mark.parametrize("kind", MODULES)
def test_dropout_without_gradients(kind: str, device: torch.device) -> None:
    def run(where: torch.device) -> list[torch.Tensor]:
        module = made(kind, "deep")
        inputs = batch(module).to(where)
        torch.manual_seed(5)
        with torch.no_grad():
            return leaves(module.to(where)(inputs))

    assert difference(run(CPU), run(device), device.type) == ""


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.LSTMCell, nn.GRUCell])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_cells(cell: Any, bias: bool, dtype: torch.dtype, device: torch.device) -> None:
    def run(where: torch.device) -> list[torch.Tensor]:
        torch.manual_seed(0)
        module = cell(6, 4, bias=bias, dtype=dtype)
        inputs = torch.randn(3, 2, 6).to(dtype).to(where).requires_grad_()
        module, state = module.to(where), None
        for step in inputs.unbind(0):
            state = module(step, state)
        outputs = list(state) if isinstance(state, tuple) else [state]
        sum(output.square().sum() for output in outputs).backward()
        grads = [inputs.grad, *(parameter.grad for parameter in module.parameters())]
        return [output.detach() for output in outputs] + grads

    assert difference(run(CPU), run(device), device.type) == ""


@pytest.mark.parametrize("kind", MODULES)
def test_second_derivatives(kind: str, device: torch.device) -> None:
    def run(where: torch.device) -> list[torch.Tensor]:
        module = made(kind, "plain")
        inputs = batch(module).to(where).requires_grad_()
        module = module.to(where)
        (slope,) = torch.autograd.grad(module(inputs)[0].pow(3).sum(), inputs, create_graph=True)
        slope.square().sum().backward()
        return [slope.detach(), *(p.grad for p in module.parameters() if p.grad is not None)]

    assert difference(run(CPU), run(device), device.type) == ""


@pytest.fixture(scope="module")
def unasked(connect: Callable[[str], torch.device]) -> torch.device:
    """A device whose executor was asked nothing so far."""
    return connect("inproc://")


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_functional_gradients(kind: str, unasked: torch.device) -> None:
    def run(where: torch.device) -> dict[str, torch.Tensor]:
        module = made(kind, "plain").to(where)
        inputs = batch(module).to(where)
        weights = {name: weight.detach() for name, weight in module.named_parameters()}

        def loss(weights: dict[str, torch.Tensor]) -> torch.Tensor:
            output, _ = torch.func.functional_call(module, weights, (inputs,))
            return output.square().sum()

        return torch.func.grad(loss)(weights)

    assert difference(run(CPU), run(unasked), unasked.type) == ""


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_over_tcp(kind: str, remote_device: torch.device) -> None:
    want, got = (with_gradients(made(kind, "both_ways"), w, False) for w in (CPU, remote_device))
    assert difference(want, got, remote_device.type) == ""


def test_lstm_asks_the_executor_once(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no recorder")
    import genie_core

    module = made("lstm", "deep").to(device)
    inputs = batch(module).to(device)

    def step() -> float:
        module.zero_grad()
        loss = module(inputs)[0].sum()
        loss.backward()
        return loss.item()

    for _ in range(2):
        step()
    genie_core.reset_stats(device)
    step()
    assert set(genie_core.stats(device).flushes) == {"read"}


@pytest.fixture(scope="module")
def elsewhere(connect: Callable[[str], torch.device]) -> torch.device:
    """A device that takes its executor for a GPU, as a session with one says."""
    from genie_core import _native

    found = connect("inproc://")
    torch.zeros(1, device=found).cpu()
    _native.set_executor_type(found.index, "cuda")
    return found


@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("kind", MODULES)
def test_other_executors_get_fused_cells(kind: str, packed: bool, elsewhere: torch.device) -> None:
    want, got = (with_gradients(made(kind, "no_bias"), w, packed) for w in (CPU, elsewhere))
    torch.testing.assert_close([part.cpu() for part in got], want)


ERRORS: dict[str, Callable[[nn.LSTM, torch.Tensor], object]] = {
    "states": lambda m, x: torch.lstm(x, [], [], True, 1, 0.0, False, False, False),
    "layers": lambda m, x: torch.gru(
        x, x.new_zeros(2, 4, 4), m._flat_weights, True, 1, 0.0, False, False, False
    ),
    "rank": lambda m, x: torch.lstm(
        x, [x.new_zeros(4, 4)] * 2, m._flat_weights, True, 1, 0.0, False, False, False
    ),
    "weights": lambda m, x: torch.gru(
        x, x.new_zeros(1, 4, 4), m._flat_weights[:3], True, 1, 0.0, False, False, False
    ),
    "cell": lambda m, x: torch.gru_cell(x[0, :, :5], x.new_zeros(4, 4), *m._flat_weights),
}


@pytest.mark.parametrize("mistake", ERRORS)
def test_mistakes(mistake: str, device: torch.device) -> None:
    messages = []
    for where in (CPU, device):
        module = made("lstm", "plain")
        assert isinstance(module, nn.LSTM)
        inputs = batch(module).to(where)
        with pytest.raises((RuntimeError, IndexError)) as raised:
            ERRORS[mistake](module.to(where), inputs)
        messages.append((raised.type, str(raised.value).splitlines()[0]))
    assert messages[0] == messages[1]
