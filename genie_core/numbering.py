"""Numbers that stand for values: the recorder notes them with each op."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

T = TypeVar("T")


class Numbering(Generic[T]):
    """Gives each distinct value a number and keeps both for good; `first` has 0. Thread-safe."""

    def __init__(self, first: T) -> None:
        self._values = [first]
        self._numbers = {first: 0}
        self._lock = threading.Lock()

    def number(self, value: T) -> int:
        """The number that stands for `value`, a new one at its first sight."""
        with self._lock:
            if value not in self._numbers:
                self._numbers[value] = len(self._values)
                self._values.append(value)
            return self._numbers[value]

    def value(self, number: int) -> T:
        """What `number` stands for."""
        return self._values[number]
