"""What users say of parts of their program."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import attrs

from genie_core import _native
from genie_core.context import contexts, working


@attrs.frozen
class Annotation:
    """What a user says of a part of their program."""

    name: str
    values: tuple[tuple[str, str], ...] = ()


@contextlib.contextmanager
def annotate(name: str, **values: object) -> Iterator[None]:
    """Say what the calling thread's ops are for, while the `with` block lasts.

    ``with genie_core.annotate("retrieval", corpus="wiki"):`` The graph's nodes have it, and those
    of their backward. Values are kept as text, and each distinct one for good: give few.
    """
    before = _native.exchange_context(0)
    _native.exchange_context(before)
    note = Annotation(name, tuple((key, str(value)) for key, value in sorted(values.items())))
    with working(annotations=(*contexts.value(before).annotations, note)):
        yield
