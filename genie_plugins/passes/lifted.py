"""Numbers that vary from run to run, in functions that are traced for numbers that do not.

A function is traced twice: for the sizes of this run, and for others that these might be. A number
that is the same in both traces is a constant; one that is what a lifted number is in both, is that.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.fx

from genie_core.graph import Geometry
from genie_plugins.passes.tracing import Unsuitable

Node = torch.fx.Node
_APART = 7
"""How far the other sizes are from these, so that few of them are equal by chance."""


_DOUBLE = Geometry(torch.float64, (), ())


class Lifted:
    """The lifted numbers of a match, with two values of each."""

    def __init__(self) -> None:
        self._others: dict[Node, int] = {}
        self._known: dict[tuple[int, int], Node] = {}

    def both(self, geometry: Geometry) -> tuple[Geometry, Geometry]:
        """A tensor as it lies, and as it might lie. Raises `Unsuitable` where nobody knows."""
        if geometry.flags:
            raise Unsuitable("one of its tensors is conjugated or negated")
        one = self._as_it_is(geometry)
        if one == geometry:
            return one, one
        size = tuple(self._other(n) for n in geometry.size)
        stride = tuple(_restrided(one, size))
        for told, was, might in zip(geometry.stride, one.stride, stride, strict=True):
            if isinstance(told, Node):
                self._note(told, was, might)
            elif was != might:
                raise Unsuitable("how one of its tensors lies does not follow from its size")
        return one, Geometry(one.dtype, size, stride, self._other(geometry.offset))

    def merged(self, one: Any, other: Any) -> Any:
        """What is said in both traces, lifted numbers in their places."""
        if isinstance(one, Geometry):
            size, offset = self.merged(one.size, other.size), self.merged(one.offset, other.offset)
            # The stride of a dimension of one element says nothing.
            stride = tuple(
                was if n == 1 else self.merged(was, might)
                for n, was, might in zip(size, one.stride, other.stride, strict=True)
            )
            return Geometry(one.dtype, size, stride, offset)
        if isinstance(one, list | tuple) and type(one) is type(other) and len(one) == len(other):
            return type(one)(self.merged(*pair) for pair in zip(one, other, strict=True))
        if type(one) is type(other) and one == other:
            return one
        if (one, other) in self._known:
            return self._known[one, other]
        raise Unsuitable("it depends on a number that varies")

    def _other(self, number: Any) -> int:
        if not isinstance(number, Node):
            return int(number)
        was = number.meta["example"]
        self._note(number, was, self._others.get(number, was + _APART + len(self._others)))
        return self._others[number]

    def _note(self, symbol: Node, was: int, might: int) -> None:
        if self._others.setdefault(symbol, might) != might:
            raise Unsuitable("its tensors vary in ways that do not go together")
        self._known[was, might] = symbol

    @staticmethod
    def _as_it_is(geometry: Geometry) -> Geometry:
        def number(n: Any) -> Any:
            return n.meta["example"] if isinstance(n, Node) else n

        size, stride = (tuple(map(number, n)) for n in (geometry.size, geometry.stride))
        return Geometry(geometry.dtype, size, stride, number(geometry.offset))


def _restrided(one: Geometry, size: tuple[int, ...]) -> list[int]:
    """Strides of the same order of dimensions for other sizes, if there are no gaps."""
    strides = list(one.stride)
    was = might = 1
    for i in sorted(range(len(size)), key=lambda i: (one.stride[i], -i)):
        if one.size[i] != 1 and one.stride[i] != was:
            raise Unsuitable("one of its tensors is only a part of what lies there")
        if one.stride[i] == was:
            strides[i] = might
        was, might = was * one.size[i], might * size[i]
    return strides


def argument(value: Any, lifted: Lifted) -> tuple[Any, Any]:
    """What a function is traced with for nodes or a number: as it is, and as it might be.

    For a lifted number it is traced with a tensor of no dimension: what is computed from it varies.
    """
    if isinstance(value, Node) and "symbol" in value.meta:
        return _DOUBLE, _DOUBLE
    if isinstance(value, Node):
        return lifted.both(value.meta["geometry"])
    if isinstance(value, list):
        pairs = [lifted.both(one.meta["geometry"]) for one in value]
        return tuple(one for one, _ in pairs), tuple(other for _, other in pairs)
    return value, value
