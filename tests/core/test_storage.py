"""Whose memory a tensor shows: detach, .data, resize_, set_, out=, saving, moving, parameters."""

from __future__ import annotations

import copy
import io
import subprocess
import sys
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch import nn

CPU = torch.device("cpu")
Work = Callable[[torch.device], Any]


def same(work: Work, device: torch.device) -> None:
    """What `work` gives on the device is what it gives on the CPU, to the bit."""
    assert difference(work(CPU), work(device), None) == ""


def needs_the_device(device: torch.device) -> None:
    if device.type == "cpu":
        pytest.skip("a rehearsal has no remote device")


# One storage, several tensors ---------------------------------------------------------------------


def detach(where: torch.device) -> Any:
    parameter = nn.Parameter(torch.ones(3, device=where))
    plain = parameter.detach()
    plain.mul_(3)
    return parameter.tolist(), plain.requires_grad, plain.data_ptr() == parameter.data_ptr()


def data(where: torch.device) -> Any:
    parameter = nn.Parameter(torch.ones(3, device=where))
    parameter.data.add_(1)
    before = parameter.tolist(), parameter._version
    alias = parameter.data
    parameter.data = torch.zeros(2, 2, device=where)
    alias.mul_(5)
    return before, parameter.tolist(), alias.tolist(), parameter.requires_grad


def data_of_a_view(where: torch.device) -> Any:
    base = torch.arange(6.0, device=where)
    row = base.view(2, 3)[1]
    row.data = base[:2]
    row.fill_(9)
    return base, row


def detach_in_place(where: torch.device) -> Any:
    x = torch.ones(2, device=where, requires_grad=True)
    y = x * 2
    y.detach_()
    y.add_(1)
    return y, y.requires_grad, y.is_leaf


def resize(where: torch.device) -> Any:
    x = torch.arange(4.0, device=where)
    other = x[1:]
    x.resize_(2, 3)
    x[1, 1:] = 7
    shown = x.clone(), other.clone()
    x.resize_(2)
    x.mul_(10)
    return shown, x, other, x.untyped_storage().nbytes()


def resize_of_an_unwritten_tensor(where: torch.device) -> Any:
    x = torch.empty(0, device=where)
    x.resize_(3, 2).fill_(4)
    y = torch.empty(5, device=where, dtype=torch.int64).resize_(2)
    return x, y.zero_(), x.resize_as_(torch.empty(2, 2, device=where))


def resize_of_a_storage(where: torch.device) -> Any:
    x = torch.arange(6.0, device=where)
    storage = x.untyped_storage()
    storage.resize_(0)
    freed = storage.size()
    storage.resize_(24)
    x.copy_(torch.arange(6.0) + 1)
    return freed, storage.size(), x


def set_to_a_storage(where: torch.device) -> Any:
    base = torch.arange(8.0, device=where)
    x = torch.empty(0, device=where)
    x.set_(base.untyped_storage(), 2, (2, 2), (1, 3))
    x.add_(100)
    y = torch.empty(0, device=where).set_(base)
    y[0] = -1
    z = torch.empty(3, device=where).set_()
    w = torch.empty(0, dtype=torch.int32, device=where).set_(base.untyped_storage())
    return x, base, y, z, w.shape, w[1:2]


def as_strided(where: torch.device) -> Any:
    base = torch.arange(10.0, device=where)
    window = base.as_strided((4, 3), (2, 1), 1)
    overlapping = window.clone()
    base.as_strided_((2, 2), (5, 1)).mul_(2)
    return overlapping, window, base


def out(where: torch.device) -> Any:
    x = torch.arange(4.0, device=where)
    fits = torch.empty(4, device=where)
    empty = torch.empty(0, device=where)
    view = torch.zeros(2, 4, device=where)
    results = [
        torch.add(x, 1, out=fits) is fits,
        torch.mul(x, x, out=empty) is empty,
        torch.add(x, 2, out=view[1]).sum(),
    ]
    torch.mm(x.view(2, 2), x.view(2, 2), out=empty.resize_(0))
    values, indices = torch.empty(0, device=where), torch.empty(0, device=where, dtype=torch.int64)
    torch.max(x.view(2, 2), 1, out=(values, indices))
    converted = torch.empty(4, device=where, dtype=torch.float64)
    torch.add(x, x, out=converted)
    return results, fits, empty, view, values, indices, converted


def swap_in_place_shapes(where: torch.device) -> Any:
    x = torch.arange(6.0, device=where).view(2, 3)
    y = x.view(6)
    x.t_().unsqueeze_(0)
    x.squeeze_(0).transpose_(0, 1)
    x.add_(1)
    return x, y, x.shape


def expand_and_unfold(where: torch.device) -> Any:
    x = torch.arange(5.0, device=where)
    wide = x.expand(3, 5)
    windows = x.unfold(0, 3, 1)
    x.add_(10)
    return wide, windows, wide.movedim(0, 1), x.view(1, 5).squeeze(0).unsqueeze(1)


def chunks_of_chunks(where: torch.device) -> Any:
    x = torch.zeros(4, 6, device=where)
    for i, piece in enumerate(x.chunk(2)):
        for j, part in enumerate(piece.split([1, 5], 1)):
            part.add_(10 * i + j)
            part.unbind(0)[1].mul_(2)
    return x


def versions(where: torch.device) -> Any:
    x = torch.ones(3, device=where, requires_grad=True)
    y = x * 2
    square = y**2
    y.add_(1)
    try:
        square.sum().backward()
    except RuntimeError as error:
        return "modified by an inplace operation" in str(error), y._version
    return "no error"


WORK: dict[str, Work] = {
    work.__name__: work
    for work in (
        detach, data, data_of_a_view, detach_in_place, resize, resize_of_an_unwritten_tensor,
        resize_of_a_storage, set_to_a_storage, as_strided, out, swap_in_place_shapes,
        expand_and_unfold, chunks_of_chunks, versions,
    )
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
@pytest.mark.parametrize("name", WORK)
def test_aliasing_is_eagers(name: str, device: torch.device) -> None:
    same(WORK[name], device)


# Copies to and fro --------------------------------------------------------------------------------


@pytest.mark.parametrize("non_blocking", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.arange(12.0).view(3, 4),
        lambda: torch.arange(12.0).view(3, 4).t(),
        lambda: torch.arange(12.0)[2::3],
        lambda: torch.arange(3.0).expand(2, 3),
        lambda: torch.arange(24).view(2, 3, 2, 2).to(memory_format=torch.channels_last),
        lambda: torch.tensor([1 + 2j, 3j]).conj(),
        lambda: torch.tensor([1 + 2j, 3j]).conj().imag,
        lambda: torch.arange(40_000.0),
        lambda: torch.empty(0, 3),
        lambda: torch.tensor(5, dtype=torch.uint8),
        lambda: torch.tensor([True, False, True]),
        lambda: torch.arange(6, dtype=torch.float16),
    ],
)
def test_there_and_back(make: Any, non_blocking: bool, device: torch.device) -> None:
    source = make()
    there = source.to(device, non_blocking=non_blocking, copy=True)
    kept = there + there.new_zeros(())
    before = source.clone()
    if 0 not in source.stride():
        source.zero_()  # what was sent is a copy
    assert there.stride() == before.stride() or not source.is_contiguous()
    for found in (there.to("cpu", non_blocking=non_blocking), kept.cpu()):
        torch.testing.assert_close(found, before, rtol=0, atol=0, check_stride=False)


def test_to_itself_is_itself(device: torch.device) -> None:
    x = torch.ones(2, device=device)
    assert x.to(device) is x
    assert x.to(x.device) is x
    assert x.to(device, copy=True).data_ptr() != x.data_ptr()
    assert x.cpu().device == CPU
    assert x.clone().tolist() == [1.0, 1.0]


def test_gradients_cross(device: torch.device) -> None:
    x = torch.ones(3, requires_grad=True)
    (x.to(device).cpu() * torch.arange(3.0)).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0, 2.0]
    y = torch.ones(3, device=device, requires_grad=True)
    (y.cpu() * 2).to(device).sum().backward()
    assert y.grad.device == y.device
    assert y.grad.tolist() == [2.0] * 3


def test_between_two_devices(device: torch.device, remote_device: torch.device) -> None:
    x = torch.arange(6.0, device=device).view(2, 3)
    there = (x.t() * 2).to(remote_device)
    assert there.device == remote_device
    assert difference((torch.arange(6.0).view(2, 3).t() * 2), there.to(device).cpu()) == ""
    x.copy_(torch.ones(3, device=remote_device))
    assert x.sum().item() == 6.0
    with pytest.raises(RuntimeError, match="same device"):
        x + there.t()


# Modules and files --------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(x)) * self.scale


def test_moving_a_module_keeps_parameters_ties_and_optimizers(device: torch.device) -> None:
    def work(where: torch.device) -> Any:
        torch.manual_seed(0)
        model = Tied()
        before = dict(model.named_parameters())
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
        assert model.to(where) is model
        assert all(parameter is before[name] for name, parameter in model.named_parameters())
        assert model.head.weight is model.words.weight
        assert all(tensor.device.type == where.type for tensor in model.state_dict().values())
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([1, 5]).to(where)).logsumexp(-1).sum().backward()
            optimizer.step()
        return model.to("cpu").state_dict(), model.head.weight is model.words.weight

    same(work, device)


def test_moving_a_module_moves_gradients_and_dtypes(device: torch.device) -> None:
    model = nn.Linear(2, 2)
    model(torch.ones(1, 2)).sum().backward()
    model.to(device, torch.bfloat16)
    assert model.weight.device.type == model.weight.grad.device.type == device.type
    assert model.weight.dtype == torch.bfloat16
    assert model.weight.grad.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_state_dicts_load_in_place(device: torch.device) -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2).to(device)
    weight = target.weight
    target.load_state_dict(source.state_dict())
    assert target.weight is weight
    assert difference(source.state_dict(), target.cpu().state_dict()) == ""


@pytest.mark.parametrize("weights_only", [True, False])
def test_save_and_load(weights_only: bool, device: torch.device) -> None:
    x = torch.arange(6.0).to(device).view(2, 3)
    saved = {"x": x, "row": x[1], "bits": torch.tensor([1 + 1j]).to(device)}
    saved["p"] = nn.Parameter(torch.ones(2, device=device))
    file = io.BytesIO()
    torch.save(saved, file)
    for target in (None, "cpu", device):
        file.seek(0)
        found = torch.load(file, weights_only=weights_only, map_location=target)
        place = CPU if target == "cpu" else device
        assert {tensor.device.type for tensor in found.values()} == {place.type}
        assert isinstance(found["p"], nn.Parameter)
        found["x"][1] = 9  # the row lies in it, as it did
        assert found["row"].tolist() == [9.0, 9.0, 9.0]
        assert found["bits"].tolist() == [1 + 1j]


def test_copies_of_objects(device: torch.device) -> None:
    x = torch.arange(4.0).to(device)
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1)).to(device)
    found = copy.deepcopy({"x": x, "half": x[:2], "model": model})
    assert found["x"].device == x.device
    found["x"].zero_()
    assert x.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert found["half"].tolist() == [0.0, 0.0]
    assert difference(model.cpu().state_dict(), found["model"].cpu().state_dict()) == ""


PICKLES = {
    "pickle": "again = pickle.loads(pickle.dumps(x))",
    "an old file": """
        torch.save(x, file, _use_new_zipfile_serialization=False)
        file.seek(0)
        again = torch.load(file)
    """,
    "a pickled model": """
        model = torch.nn.Linear(2, 2).to(x.device)
        model.weight.data.fill_(1)
        again = pickle.loads(pickle.dumps(model)).weight.detach()[0] * x
    """,
}


@pytest.mark.parametrize("name", PICKLES)
def test_pickles(name: str, device: torch.device) -> None:
    """In a process of their own: torch reads the storage's memory by its address."""
    code = f"""
        import io, pickle, torch
        import genie_core  # torch 2.4 and before do not look for devices
        file = io.BytesIO()
        x = torch.arange(2.0, device={device.type!r})
        {textwrap.dedent(PICKLES[name]).strip().replace(chr(10), chr(10) + " " * 8)}
        assert again.device == x.device, again.device
        print(again.tolist())
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "[0.0, 1.0]\n"), done.stderr


def test_copy_of_a_shallow_kind_shares_memory(device: torch.device) -> None:
    x = torch.zeros(2, device=device)
    copy.copy(x).add_(1)
    assert x.tolist() == [1.0, 1.0]


def test_what_the_device_says_of_its_tensors(device: torch.device) -> None:
    needs_the_device(device)
    x = torch.ones(2, 3, device=device)
    assert x.is_remote_accelerator
    assert not torch.ones(1).is_remote_accelerator
    assert (x.device.type, x.device.index, x.get_device()) == (device.type, 0, 0)
    assert x.data_ptr() not in (0, x.clone().data_ptr())
    assert x[1].data_ptr() == x.data_ptr() + 12 or x[1].storage_offset() == 3
    assert x.untyped_storage().device == x.device
    assert not x.is_pinned()
    assert nn.Linear(1, 1).remote_accelerator().weight.device == x.device
    with torch.device(device):
        assert torch.ones(1).device == x.device
