"""The device as users meet it: reads, prints, indexing, dtypes, layouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conformance.compare import difference
from torch.nn import functional

CPU = torch.device("cpu")
Work = Callable[[torch.device], Any]


def same(work: Work, device: torch.device) -> None:
    """What `work` gives on the device is what it gives on the CPU, to the bit."""
    assert difference(work(CPU), work(device), None) == ""


def count(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    numbers = 1
    for length in size:
        numbers *= length
    return torch.arange(numbers).to(dtype).reshape(size)


# Reads -------------------------------------------------------------------------------------------

READS: dict[str, Work] = {
    "item": lambda d: [(count(3).to(d) + 1)[1].item(), torch.tensor(True).to(d).item()],
    "item of a bfloat16": lambda d: torch.tensor(1.5, dtype=torch.bfloat16).to(d).item(),
    "item of a complex": lambda d: (torch.tensor([1 + 2j]).to(d) * 2).conj()[0].item(),
    "bool": lambda d: [bool(torch.ones(1, device=d) > 0), bool(torch.zeros((), device=d))],
    "int and float": lambda d: [int(torch.ones(1, device=d) * 3), float(torch.ones((), device=d))],
    "index": lambda d: list(range(torch.tensor(3, device=d))),
    "tolist": lambda d: [count(2, 3).to(d).t().tolist(), torch.empty(0, 2, device=d).tolist()],
    "len and iteration": lambda d: [len(count(3, 2).to(d)), *(r.sum() for r in count(3, 2).to(d))],
    "contains": lambda d: [3.0 in count(5).to(d), 7.0 in count(5).to(d)],
    "equal": lambda d: [
        torch.equal(count(3).to(d), count(3).to(d)),
        torch.equal(count(3).to(d), count(3).to(d) + 1),
        torch.equal(count(3).to(d), count(4).to(d)),
    ],
    "allclose": lambda d: [
        torch.allclose(count(3).to(d), count(3).to(d) + 5),
        torch.allclose(count(3).to(d), count(3).to(d) + 1e-7),
    ],
    "is_nonzero": lambda d: torch.is_nonzero(torch.ones(1, device=d)),
    "if on a comparison": lambda d: "yes" if count(3).to(d).sum() > 2 else "no",
}


@pytest.mark.parametrize("name", READS)
def test_reads(name: str, device: torch.device) -> None:
    same(READS[name], device)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(2.5),
        torch.tensor(3),
        torch.ones(2, 3),
        torch.tensor([True, False]),
        torch.empty(0),
        torch.empty(0, 3),
        torch.tensor([1 + 2j]),
        torch.tensor([float("nan"), float("inf"), 1e10]),
        torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
        torch.arange(2000.0),
        torch.ones(2, requires_grad=True),
        torch.arange(6).view(2, 3).t(),
    ],
    ids=repr,
)
def test_printing(tensor: torch.Tensor, device: torch.device) -> None:
    shown = repr(tensor.to(device))
    place = "" if device.type == "cpu" else f", device='{device.type}:0'"
    assert shown.replace(place, "").replace("\n", "").replace(" ", "") == repr(
        tensor.to(device).cpu()
    ).replace("\n", "").replace(" ", "")
    assert place in shown
    assert str(tensor.to(device)) == shown
    assert f"{torch.tensor(2.5).to(device):.2f}" == "2.50"


# Indexing and shapes that depend on data ---------------------------------------------------------

INDEXING: dict[str, Work] = {
    "nonzero": lambda d: (count(2, 3).to(d) % 2).nonzero(),
    "nonzero as tuple": lambda d: list((count(2, 3).to(d) % 2).nonzero(as_tuple=True)),
    "nothing nonzero": lambda d: torch.zeros(3, device=d).nonzero(),
    "masked_select": lambda d: count(6).to(d).masked_select(count(6).to(d) > 2),
    "unique": lambda d: list(
        torch.unique(torch.tensor([3, 1, 3]).to(d), return_inverse=True, return_counts=True)
    ),
    "unique_consecutive": lambda d: torch.tensor([1, 1, 2, 1]).to(d).unique_consecutive(),
    "bincount": lambda d: torch.bincount(torch.tensor([0, 2, 2, 5]).to(d)),
    "repeat_interleave": lambda d: torch.arange(3, device=d).repeat_interleave(
        torch.tensor([0, 2, 1]).to(d)
    ),
    "where of one": lambda d: list(torch.where(count(4).to(d) > 1)),
    "a mask": lambda d: count(3, 2).to(d)[(count(3) > 0).to(d)],
    "a CPU mask": lambda d: count(4).to(d)[torch.tensor([True, False, True, False])],
    "a CPU index": lambda d: count(4, 2).to(d)[torch.tensor([3, 0])],
    "a list": lambda d: count(4, 2).to(d)[[0, -1]],
    "two indices": lambda d: count(4, 3).to(d)[torch.tensor([0, 3]), torch.tensor([2, 1]).to(d)],
    "an index and a slice": lambda d: count(3, 4, 5).to(d)[:, torch.tensor([1]).to(d), 1::2],
    "None and ellipsis": lambda d: count(2, 3).to(d)[None, ..., 1],
    "a 0-dim index": lambda d: count(4).to(d)[torch.tensor(2).to(d)],
    "take_along_dim": lambda d: count(2, 3).to(d).take_along_dim(torch.tensor([[1]]).to(d), 1),
    "sort and topk": lambda d: [*(-count(5).to(d)).sort(), *count(5).to(d).topk(2)],
    "histc": lambda d: torch.histc(count(7).to(d), 3),
}
WRITES: dict[str, Callable[[torch.Tensor], Any]] = {
    "an int": lambda x: x.__setitem__(0, 5),
    "a slice": lambda x: x.__setitem__(slice(1, None, 2), -1.5),
    "a mask": lambda x: x.__setitem__(x > 3, 0),
    "a CPU mask": lambda x: x.__setitem__(torch.tensor([True, False, True]), 9),
    "a CPU index": lambda x: x.__setitem__(torch.tensor([2, 0]), torch.ones(4, device=x.device)),
    "a CPU value": lambda x: x.__setitem__(0, torch.arange(4.0)),
    "a CPU value that broadcasts": lambda x: x.copy_(torch.arange(4.0)),
    "a CPU value of another dtype": lambda x: x[:, 1].copy_(torch.arange(3)),
    "a CPU scalar": lambda x: x.__setitem__((0, 0), torch.tensor(7)),
    "index_put_ accumulating": lambda x: x.index_put_(
        (torch.tensor([0, 0]).to(x.device),), torch.ones(4, device=x.device), accumulate=True
    ),
    "index_add_": lambda x: x.index_add_(0, torch.tensor([1, 1]).to(x.device), x[:2].clone()),
    "scatter_": lambda x: x.scatter_(1, torch.tensor([[0], [2]]).to(x.device), 8.0),
    "masked_fill_": lambda x: x.masked_fill_(x > 4, float("-inf")),
    "masked_scatter_": lambda x: x.masked_scatter_(x > 4, torch.ones(12, device=x.device)),
    "views of views": lambda x: x[1:].t()[2].unsqueeze(0).add_(100),
    "a diagonal": lambda x: x.diagonal().fill_(-1),
    "a transposed row": lambda x: x.t().select(0, 1)[1:].mul_(3),
    "unbound rows": lambda x: [row.mul_(i) for i, row in enumerate(x.unbind())],
    "split pieces": lambda x: [piece.neg_() for piece in x.split(2, dim=1)[1:]],
    "an expanded source": lambda x: x.add_(torch.ones(1, device=x.device).expand(3, 4)),
    "itself, shifted": lambda x: x[0].copy_(x[1].clone()),
    "swapped halves": lambda x: x.set_(x.flip(1)),
}


@pytest.mark.parametrize("name", INDEXING)
def test_indexing(name: str, device: torch.device) -> None:
    same(INDEXING[name], device)


@pytest.mark.parametrize("name", WRITES)
def test_writes_through_views_and_indices(name: str, device: torch.device) -> None:
    def work(where: torch.device) -> Any:
        x = count(3, 4).to(where)
        other = x.view(4, 3)
        WRITES[name](x)
        return x, other, x.sum()

    same(work, device)


# Dtypes, layouts, complex numbers -----------------------------------------------------------------

TYPES: dict[str, Work] = {
    "real and imag": lambda d: [z(d).real, z(d).imag, (z(d).imag + 1)],
    "conj": lambda d: [z(d).conj(), z(d).conj() * 2, z(d).conj().is_conj(), z(d).conj()[1:].real],
    "resolve_conj": lambda d: z(d).conj().resolve_conj(),
    "conj in place": lambda d: z(d).conj().add_(1j),
    "view_as_real": lambda d: [torch.view_as_real(z(d)), torch.view_as_real(z(d)).dtype],
    "view_as_complex": lambda d: torch.view_as_complex(count(2, 2).to(d)) + 1,
    "write to real": lambda d: written(z(d), lambda x: x.real.fill_(3)),
    "neg views": lambda d: [z(d).conj().imag, z(d).conj().imag.is_neg(), z(d).conj().imag + 1],
    "write to a neg view": lambda d: written(z(d), lambda x: x.conj().imag.add_(1)),
    "abs and angle": lambda d: [z(d).abs(), z(d).angle(), torch.complex(z(d).real, z(d).imag)],
    "complex scalars": lambda d: [count(2).to(d) * (1 + 2j), z(d) ** 2, z(d) + 1],
    "view of another dtype": lambda d: [
        count(2).to(d).view(torch.int32),
        count(2).to(d).view(torch.uint8),
        count(4, dtype=torch.int16).to(d).view(torch.int64),
    ],
    "write to a dtype view": lambda d: written(
        count(2).to(d), lambda x: x.view(torch.int32).zero_()
    ),
    "channels_last": lambda d: count(2, 3, 2, 2).to(d).to(memory_format=torch.channels_last) + 1,
    "channels_last from the CPU": lambda d: (
        count(2, 3, 2, 2).to(memory_format=torch.channels_last).to(d)
    ),
    "channels_last convolution": lambda d: functional.conv2d(
        count(1, 2, 4, 4).to(d).to(memory_format=torch.channels_last),
        count(3, 2, 2, 2).to(d).to(memory_format=torch.channels_last),
    ),
    "bfloat16 slices": lambda d: [
        count(8, dtype=torch.bfloat16)[3:6].to(d),
        count(8, dtype=torch.bfloat16).to(d)[3:6],
        count(4, 4, dtype=torch.bfloat16)[:, 1].to(d) + 1,
    ],
    "0-dim CPU scalars": lambda d: [
        count(3).to(d) + torch.tensor(2),
        torch.tensor(2.5, dtype=torch.float64) * count(3).to(d),
        torch.where(count(3).to(d) > 1, torch.tensor(7.0), count(3).to(d)),
        count(3).to(d) == torch.tensor(1),
    ],
    "an int tensor by a 0-dim double": lambda d: (
        count(6, dtype=torch.int64).to(d) * torch.tensor(0.5, dtype=torch.float64)
    )[2:4],
    "wrapped numbers": lambda d: [
        count(2, dtype=torch.int32).to(d) * 2.5,
        count(2, dtype=torch.int8).to(d) + 1,
        count(2, dtype=torch.float16).to(d) * 3,
        count(2).to(d) > 2**40,
        count(2, dtype=torch.uint8).to(d) - 1,
        2 ** count(3).to(d),
        5 // (count(3, dtype=torch.int64).to(d) + 1),
        True & torch.tensor([True, False]).to(d),
    ],
    "promotion": lambda d: [
        count(2, dtype=torch.int32).to(d) + count(2, dtype=torch.float16).to(d),
        count(2, dtype=torch.bool).to(d) + count(2, dtype=torch.uint8).to(d),
        count(2, dtype=torch.int64).to(d) / count(2, dtype=torch.int64).to(d).add(1),
        count(2).to(d) + torch.ones((), device=d, dtype=torch.float64),
        count(2).to(d) * (torch.ones((), device=d, dtype=torch.float64) + 1),
    ],
    "dtype conversions": lambda d: [
        count(3).to(d).to(kind)
        for kind in (torch.float64, torch.int8, torch.bool, torch.bfloat16, torch.complex64)
    ],
    "factories": lambda d: [
        torch.eye(3, device=d),
        torch.linspace(0, 1, 5, device=d),
        torch.arange(1, 2, 0.25, device=d),
        torch.tril_indices(3, 3, device=d),
        torch.full((2,), 7, device=d),
        torch.ones(2, 2, device=d).new_zeros(3),
        torch.tensor([[1, 2], [3, 4]], device=d),
        torch.zeros_like(count(2, 2).to(d), dtype=torch.int8),
        torch.hann_window(5, device=d),
    ],
    "numbers that cancel": lambda d: [torch.tensor([0.1, -0.0, float("nan")]).to(d).abs()],
}


def z(where: torch.device) -> torch.Tensor:
    return torch.tensor([1 + 2j, 3 - 4j, 0.5j]).to(where)


def written(x: torch.Tensor, write: Callable[[torch.Tensor], Any]) -> torch.Tensor:
    write(x)
    return x


@pytest.mark.parametrize("name", TYPES)
def test_dtypes_and_layouts(name: str, device: torch.device) -> None:
    same(TYPES[name], device)
