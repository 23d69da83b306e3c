"""Work that must not meet what the user's thread has switched on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def apart(work: Callable[[], Result]) -> Result:
    """Do `work` on a thread of its own, and return what it returns or raise what it raises.

    A hook is called wherever the user's code reads a value: under autocast, inference mode, a
    function transform, a mode that catches every op. All of that is the thread's.
    """
    with ThreadPoolExecutor(1, "genie-apart") as pool:
        return pool.submit(work).result()
