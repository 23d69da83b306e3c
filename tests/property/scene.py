"""A program that grows statement by statement, with what it has made so far on the CPU."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from hypothesis import strategies as st
from property.lockstep import Place

T = TypeVar("T")

FLOATS = (torch.float32, torch.float64, torch.bfloat16)
DTYPES = (*FLOATS, torch.int64, torch.bool, torch.complex64)
MOST_TENSORS = 7
MOST_ELEMENTS = 400

_integers = functools.cache(st.integers)


class Scene:
    """Draws choices, and runs each statement on the CPU, so that the next can refer to it."""

    def __init__(self, draw: Callable[[Any], Any]) -> None:
        self._draw = draw
        self._cpu = Place(torch.device("cpu"))
        self._made = 0
        self.lines: list[str] = []

    # ---- choices

    def number(self, low: int, high: int) -> int:
        """A number of this range; shrinks towards `low`."""
        return int(self._draw(_integers(low, high)))

    def pick(self, items: Sequence[T]) -> T:
        """One of these; shrinks towards the first."""
        return items[self.number(0, len(items) - 1)]

    def chance(self, one_in: int) -> bool:
        """True now and then; shrinks towards False."""
        return self.number(0, one_in - 1) == one_in - 1

    # ---- tensors

    def names(self, wanted: Callable[[torch.Tensor], bool] | None = None) -> list[str]:
        """Names of live tensors, newest first, that are as wanted."""
        found = [k for k, v in self._cpu.names.items() if isinstance(v, torch.Tensor)]
        return [k for k in reversed(found) if wanted is None or self._is(k, wanted)]

    def _is(self, name: str, wanted: Callable[[torch.Tensor], bool]) -> bool:
        # A view whose graph was invalidated refuses to be looked at.
        with contextlib.suppress(RuntimeError):
            return wanted(self[name])
        return False

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor = self._cpu.names[name]
        assert isinstance(tensor, torch.Tensor)
        return tensor

    def tensor(self, wanted: Callable[[torch.Tensor], bool] | None = None) -> str:
        """A live tensor that is as wanted; any, if none is."""
        return self.pick(self.names(wanted) or self.names())

    def dim(self, name: str) -> int:
        """One of a tensor's dimensions, from the front or the back."""
        rank = max(self[name].dim(), 1)
        return self.number(-rank, rank - 1) if self.chance(2) else self.number(0, rank - 1)

    # ---- statements

    def add(self, line: str) -> None:
        """Run a statement and append it (not often if it fails), keeping what is alive small."""
        if self._cpu.run(compile(line, line, "exec")) is None or self.chance(6):
            self.lines.append(line)
        for name in self.names(lambda t: t.numel() > MOST_ELEMENTS):
            self._drop(name)
        for name in self.names()[MOST_TENSORS:]:
            self._drop(name)

    def _drop(self, name: str) -> None:
        self.lines.append(f"del {name}")
        del self._cpu.names[name]

    def new(self, expression: str) -> str:
        """Append a statement that makes a tensor."""
        name = f"t{self._made}"
        self._made += 1
        self.add(f"{name} = {expression}")
        return name

    def lives(self, name: str) -> bool:
        """Whether a statement has made this tensor indeed."""
        return isinstance(self._cpu.names.get(name), torch.Tensor)
