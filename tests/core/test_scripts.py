"""What scripts do: recurrent layers, autocast, threads, thousands of ops, mistakes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

CPU = torch.device("cpu")
Work = Callable[[torch.device], Any]


def needs_the_device(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no remote device")


def count(*size: int) -> torch.Tensor:
    return torch.ones(size).flatten().cumsum(0).sub(1).view(size)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}])
def test_recurrent_layers(kind: Any, options: dict[str, Any], device: torch.device) -> None:
    def work(where: torch.device) -> list[torch.Tensor]:
        torch.manual_seed(0)
        layer = kind(3, 4, **options)
        x = torch.randn(5, 2, 3)
        layer, x = layer.to(where), x.to(where).requires_grad_()
        output, _ = layer(x)
        output.square().sum().backward()
        parts = [output, x.grad, *(p.grad for p in layer.parameters())]
        return [part.detach().cpu() for part in parts]

    for want, got in zip(work(CPU), work(device), strict=True):
        torch.testing.assert_close(got, want)


def test_recurrent_layers_on_packed_sequences(device: torch.device) -> None:
    def work(where: torch.device) -> torch.Tensor:
        torch.manual_seed(0)
        layer = torch.nn.LSTM(2, 3).to(where)
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            count(4, 2, 2).to(where), torch.tensor([4, 2])
        )
        return torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0])[0].detach().cpu()

    torch.testing.assert_close(work(device), work(CPU))


def test_autocast_says_that_it_stays_off(device: torch.device) -> None:
    needs_the_device(device)
    if torch.remote_accelerator.get_amp_supported_dtype():
        pytest.skip("it is on with this torch")
    x = torch.ones(2, 2, device=device)
    with (
        pytest.warns(UserWarning, match="Disabling autocast"),
        torch.autocast(device.type, torch.bfloat16),
    ):
        y = x @ x
    assert y.dtype == torch.float32
    assert y.tolist() == [[2.0, 2.0], [2.0, 2.0]]


# Threads and long traces --------------------------------------------------------------------------


def run_threads(count: int, work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    assert failures == []


def test_threads_record_at_once(device: torch.device) -> None:
    def work(number: int) -> None:
        x = torch.full((10,), float(number), device=device)
        for _ in range(200):
            x = x + 1
        assert x.sum().item() == (number + 200) * 10

    run_threads(6, work)


def test_threads_read_while_others_ask_for_shapes(device: torch.device) -> None:
    base = torch.tensor([0.0, 1, 2, 0, 3]).to(device)

    def work(number: int) -> None:
        counter = torch.zeros(4, device=device)
        for step in range(400):
            if number % 2:
                assert (base + 1 - 1).nonzero().flatten().tolist() == [1, 2, 4]
            else:
                counter = counter + 1
                assert counter[0].item() == step + 1

    run_threads(4, work)


def test_threads_train_at_once(device: torch.device) -> None:
    def train(number: int, where: torch.device) -> list[float]:
        weight = torch.full((4, 4), 0.1 * (number + 1)).to(where).requires_grad_()
        losses = []
        for _ in range(15):
            loss = (weight @ weight.t()).sin().sum()
            (slope,) = torch.autograd.grad(loss, weight)
            weight = (weight - 0.1 * slope).detach().requires_grad_()
            losses.append(loss.item())
        return losses

    def work(number: int) -> None:
        assert train(number, device) == train(number, CPU)

    run_threads(4, work)


def test_a_chain_of_thousands_of_ops(device: torch.device) -> None:
    x = torch.zeros(2, device=device, requires_grad=True)
    y = x
    for _ in range(3000):
        y = y + 1
    assert y.tolist() == [3000.0, 3000.0]
    y.sum().backward()
    assert x.grad.tolist() == [1.0, 1.0]


# Errors of the user's -----------------------------------------------------------------------------

MISTAKES: dict[str, Work] = {
    "mm of sizes that do not fit": lambda d: torch.mm(torch.ones(2, 3, device=d), ones(d)),
    "bmm of matrices": lambda d: torch.bmm(ones(d), ones(d)),
    "an index out of range": lambda d: ones(d)[10],
    "a dim out of range": lambda d: ones(d).sum(7),
    "too many indices": lambda d: ones(d)[0, 0, 0],
    "a reshape that does not fit": lambda d: ones(d).reshape(3, 7),
    "a view that is none": lambda d: ones(d).t().view(8),
    "sizes that do not broadcast": lambda d: ones(d) + torch.ones(3, device=d),
    "an in-place op that would grow": lambda d: ones(d).add_(torch.ones(3, 2, 4, device=d)),
    "an in-place op that would promote": lambda d: torch.ones(2, device=d, dtype=torch.int64).add_(
        0.5
    ),
    "a cat that does not fit": lambda d: torch.cat([ones(d), torch.ones(3, 3, device=d)]),
    "a linear layer that does not fit": lambda d: functional.linear(
        ones(d), torch.ones(5, 5, device=d)
    ),
    "a copy that does not fit": lambda d: ones(d).copy_(torch.ones(3)),
    "item of many": lambda d: ones(d).item(),
    "bool of many": lambda d: bool(ones(d)),
    "item of none": lambda d: torch.empty(0, device=d).item(),
    "a mask of the wrong size": lambda d: ones(d)[torch.tensor([True, False, True])],
    "an unsupported dtype": lambda d: torch.ones(2, device=d, dtype=torch.int64).mean(),
    "backward from many": lambda d: ones(d).requires_grad_().mul(2).backward(),
}


def ones(where: torch.device) -> torch.Tensor:
    return torch.ones(2, 4, device=where)


def mistake(work: Work, where: torch.device) -> tuple[type, str]:
    try:
        work(where)
    except Exception as error:
        return type(error), str(error)
    raise AssertionError("no error")


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_eagers_errors_at_the_call(name: str, device: torch.device) -> None:
    assert mistake(MISTAKES[name], device) == mistake(MISTAKES[name], CPU)
    assert ones(device).sum().item() == 8.0


def test_what_only_the_kernel_refuses_comes_at_the_read_with_its_message(
    device: torch.device,
) -> None:
    _, message = mistake(lambda d: (ones(d) & ones(d)).cpu(), CPU)
    kind, found = mistake(lambda d: (ones(d) & ones(d)).cpu(), device)
    assert issubclass(kind, RuntimeError)
    assert message in found


def test_mixed_devices_are_refused_at_the_call(device: torch.device) -> None:
    needs_the_device(device)
    x = ones(device)
    for work in (
        lambda: x + torch.ones(2, 4),
        lambda: torch.ones(2, 4) * x,
        lambda: torch.cat([x, torch.ones(2, 4)]),
        lambda: functional.linear(x, torch.ones(3, 4)),
        lambda: x.index_select(0, torch.tensor([1])),
    ):
        with pytest.raises(RuntimeError, match="same device.*remote_accelerator:0 and cpu"):
            work()
    with pytest.raises(RuntimeError, match="remote_accelerator:0"):
        torch.ones(2, 4).add_(x).sum()
    assert x.sum().item() == 8.0


def test_numpy_is_refused_and_says_what_to_do(device: torch.device) -> None:
    needs_the_device(device)
    with pytest.raises(TypeError, match=r"Use Tensor.cpu\(\)"):
        ones(device).numpy()
    assert ones(device).cpu().numpy().sum() == 8.0
