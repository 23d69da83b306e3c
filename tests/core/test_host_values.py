"""Small integers that the client knows are read without a round trip, and only while it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

Work = Callable[[torch.device], Any]

KNOWN: dict[str, Work] = {
    "a mask of arange": lambda d: bool((torch.arange(6, device=d)[None] < 6).all()),
    "a causal mask": lambda d: torch.ones(4, 4, dtype=torch.bool, device=d).tril().tolist(),
    "lengths": lambda d: int(torch.tensor([3, 5, 2]).to(d).max()),
    "a sum of lengths": lambda d: (torch.tensor([3, 5, 2]).to(d).cumsum(0)[-1] + 1).item(),
    "a padding mask": lambda d: (
        (torch.tensor([[1, 1, 0]]).to(d) == 0).any().item(),
        torch.tensor([[1, 1, 0]], device=d).sum(-1).tolist(),
    ),
    "what was written in place": lambda d: counted(d).tolist(),
    "what was written through a view": lambda d: through_a_view(d).tolist(),
    "what was uploaded into a part": lambda d: uploaded_into(d).tolist(),
    "an eos check": lambda d: (torch.tensor([7, 2]).to(d) == 2).any().item(),
    "isin": lambda d: torch.isin(torch.tensor([7, 2]).to(d), torch.tensor([2]).to(d)).tolist(),
    "shapes of a cat": lambda d: torch.cat([torch.arange(2, device=d), counted(d)]).tolist(),
    "where": lambda d: torch.where(counted(d) > 2, 1, 0).tolist(),
    "a printed one": lambda d: str(counted(d).cpu()),
    "a permuted copy": lambda d: torch.arange(6, device=d).view(2, 3).t().contiguous().tolist(),
    "of another integer type": lambda d: (
        torch.arange(5, dtype=torch.uint8, device=d).sub(3).tolist()
    ),
    "out=": lambda d: into(d).tolist(),
    "a deep chain of views": lambda d: torch.arange(24, device=d).view(2, 3, 4)[1].t()[2].tolist(),
}


def counted(where: torch.device) -> torch.Tensor:
    x = torch.zeros(4, dtype=torch.int64, device=where)
    for i in range(4):
        x[i] = i
    return x.add_(1).mul_(2)


def through_a_view(where: torch.device) -> torch.Tensor:
    x = torch.arange(6, device=where)
    x.view(2, 3)[1].fill_(9)
    x.view(2, 3).t()[0] += 1
    return x


def uploaded_into(where: torch.device) -> torch.Tensor:
    x = torch.zeros(4, dtype=torch.int64, device=where)
    x[1:3] = torch.tensor([5, 6])
    return x


def into(where: torch.device) -> torch.Tensor:
    x = torch.zeros(3, dtype=torch.int64, device=where)
    torch.add(torch.arange(3, device=where), 4, out=x)
    return x


@pytest.mark.parametrize("name", KNOWN)
def test_known_values_cost_no_round_trip(name: str, flow: Any) -> None:
    found = []
    grown = flow.during(lambda: found.append(KNOWN[name](flow.device)))
    assert found == [KNOWN[name](torch.device("cpu"))]
    assert grown["round_trips"] == 0
    assert grown["host_reads"] >= 1


def test_a_converted_mask_is_known(flow: Any) -> None:
    mask = torch.ones(2, 3, dtype=torch.int64).to(flow.device)
    assert flow.during(lambda: bool(mask.to(torch.bool).all()))["round_trips"] == 0


UNKNOWN: dict[str, Work] = {
    "floats": lambda d: (torch.arange(3.0, device=d) + 1).tolist(),
    "a comparison of floats": lambda d: (torch.ones(3, device=d) > 0).tolist(),
    "integers made of floats": lambda d: (torch.ones(3, device=d) * 3).to(torch.int64).tolist(),
    "integers written from floats": lambda d: (
        torch.zeros(3, dtype=torch.int64, device=d).copy_(torch.ones(3, device=d) * 2).tolist()
    ),
    "a part written from floats": lambda d: part_written(d).tolist(),
    "an index that is unknown": lambda d: torch.arange(9, device=d)[
        (torch.ones(2, device=d) * 4).long()
    ].tolist(),
    "written with an unknown mask": lambda d: (
        torch.arange(4, device=d).masked_fill_(torch.rand(4, device=d) >= 0, 7).tolist()
    ),
    "bytes seen as integers": lambda d: float_bits(d).tolist(),
    "integers written as floats": lambda d: written_as_floats(d).tolist(),
    "many": lambda d: torch.arange(100_000, device=d)[-3:].tolist(),
    "set_ to unknown memory": lambda d: set_to_unknown(d).tolist(),
    "resized": lambda d: torch.arange(3, device=d).resize_(2).add_(0).tolist(),
    "random integers": lambda d: (torch.randint(5, 6, (3,), device=d)).tolist(),
    "in-place random integers": lambda d: torch.zeros(3, device=d).long().random_(3, 4).tolist(),
    "out= from unknown": lambda d: out_from_unknown(d).tolist(),
}


def part_written(where: torch.device) -> torch.Tensor:
    x = torch.arange(4, device=where)
    x[1:3] = (torch.ones(2, device=where) * 8).long()
    return x


def float_bits(where: torch.device) -> torch.Tensor:
    return (torch.ones(2, device=where) * 2).view(torch.int32)


def written_as_floats(where: torch.device) -> torch.Tensor:
    x = torch.zeros(2, dtype=torch.int32, device=where)
    x.view(torch.float32).add_(1.0)
    return x


def set_to_unknown(where: torch.device) -> torch.Tensor:
    x = torch.arange(2, dtype=torch.int32, device=where)
    x.set_((torch.ones(2, device=where) * 2).view(torch.int32))
    return x


def out_from_unknown(where: torch.device) -> torch.Tensor:
    x = torch.arange(3, device=where)
    torch.add((torch.ones(3, device=where) * 2).long(), 1, out=x)
    return x


@pytest.mark.parametrize("name", UNKNOWN)
def test_unknown_values_are_never_guessed(name: str, flow: Any) -> None:
    assert UNKNOWN[name](flow.device) == UNKNOWN[name](torch.device("cpu"))


def test_what_fails_on_the_executor_is_not_known_here(flow: Any) -> None:
    bad = torch.arange(3, device=flow.device)[torch.tensor([9], device=flow.device)]
    with pytest.raises(RuntimeError, match="aten::index"):
        bad.tolist()
    zero = torch.arange(3, device=flow.device) // torch.zeros(3, dtype=torch.int64).to(flow.device)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        zero.tolist()


def test_a_known_value_is_right_on_the_executor_too(flow: Any) -> None:
    """Both sides compute it: a float op needs the executor's, a read takes the client's."""
    x = through_a_view(flow.device)
    assert x.tolist() == (x * 1.0).long().tolist()


def test_values_read_are_copies(flow: Any) -> None:
    x = torch.arange(3, device=flow.device)
    x.cpu().fill_(9)
    x.to("cpu", copy=False).fill_(8)
    assert x.tolist() == [0, 1, 2]
    source = torch.tensor([1, 2])
    there = source.to(flow.device)
    source.fill_(0)
    assert there.tolist() == [1, 2]
