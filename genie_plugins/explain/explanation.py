"""What happened while somebody wanted it explained."""

from __future__ import annotations

import os
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from genie_core.dispatcher import dispatcher
from genie_core.graph import Semantics
from genie_core.session import Session
from genie_plugins.explain.outcomes import Report, ask

if TYPE_CHECKING:
    import torch.fx
    from typing_extensions import Self

    from genie_core._native import Sealed
    from genie_core.program import EncodedProgram
    from genie_core.protocol import Outcome

_open: list[Explanation] = []
_lock = threading.Lock()


@attrs.define(eq=False)
class Program:
    """A program that was run: how often, why it was flushed, what it is."""

    device: int
    number: int
    """As `Semantics.forward` has it."""
    ops: int
    runs: int = 0
    sent: int = 0
    """Bytes of its messages, those of its code included where `graph` is there."""
    waits: int = 0
    """After how many runs the client waited, for a value or the end."""
    waited: float = 0.0
    """Seconds from those messages to their replies; earlier work of the executor is in it."""
    flushes: Counter[tuple[str, str]] = attrs.Factory(Counter)
    """How often for which reason, at which of the user's lines."""
    graph: torch.fx.Graph | None = None
    """None for one that was first seen before the explanation began."""
    passes: dict[str, int] = attrs.Factory(dict)
    """Which passes found another form for it, and in how many places."""
    outcome: Outcome | None = None
    """What became of that, as soon as the explanation is closed."""

    @property
    def reasons(self) -> Counter[str]:
        """How often for which reason."""
        found: Counter[str] = Counter()
        for (reason, _), count in self.flushes.items():
            found[reason] += count
        return found

    @property
    def nodes(self) -> list[torch.fx.Node]:
        """The graph's nodes that are recorded ops."""
        return [node for node in self.graph.nodes if "op" in node.meta] if self.graph else []

    def count(self, attribute: str) -> Counter[Any]:
        """How many ops have which value of an attribute of `Semantics`."""
        return Counter(getattr(meaning(node), attribute) for node in self.nodes)

    @property
    def patterns(self) -> Counter[str]:
        """How many instances of each family of patterns the graph has."""
        instances = {name for node in self.nodes for name in meaning(node).patterns}
        return Counter(family(name) for name in sorted(instances))

    def print_readable(self) -> None:
        """Print the graph with what its nodes mean."""
        from genie_plugins.explain.text import print_graph

        if self.graph is not None:
            print_graph(self.graph)


@attrs.define
class _Latest:
    """The latest run on a device: what the client waits for until the next is its."""

    program: Program
    session: Session
    before: float
    is_counted: bool = False

    def settle(self) -> None:
        waited = self.session.waited - self.before
        if waited and not self.is_counted:
            self.program.waits += 1
            self.is_counted = True
        self.program.waited += waited
        self.before += waited


class Explanation:
    """The programs of a run, in the order in which they were first run since it began.

    Grows until it is closed, at the end of its `with` block or by `close()`. Printing it shows it.
    """

    def __init__(self) -> None:
        self._programs: dict[tuple[int, int], Program] = {}
        self._latest: dict[int, _Latest] = {}  # by device
        self.restrided: Counter[str] = Counter()
        """Ops whose real strides were not those inferred, as soon as it is closed."""

    @property
    def programs(self) -> list[Program]:
        """Every program that was run."""
        with _lock:
            self._settle()
        return list(self._programs.values())

    @property
    def flushes(self) -> Counter[tuple[str, str]]:
        """How often for which reason, at which of the user's lines, over all programs."""
        found: Counter[tuple[str, str]] = Counter()
        for program in self._programs.values():
            found.update(program.flushes)
        return found

    def add(
        self, device: int, sealed: Sealed, code: EncodedProgram | None, cause: tuple[str, str]
    ) -> None:
        """Note a flush; `code` is there for a program's first sight, `cause` is reason and line."""
        self._settle()
        key = (device, sealed.program)
        program = self._programs.setdefault(key, Program(*key, sealed.ops))
        program.runs += 1
        program.sent += len(sealed.payload)
        program.flushes[cause] += 1
        if code is not None:
            program.sent += len(code.code)
            program.graph = code.graph
            program.passes = code.rewrite.passes if code.rewrite else {}
        session = dispatcher.session(device)
        self._latest[device] = _Latest(program, session, session.waited)

    def _settle(self) -> None:
        for latest in self._latest.values():
            latest.settle()

    def as_dict(self) -> dict[str, Any]:
        """Everything, in what JSON has."""
        from genie_plugins.explain.data import describe

        return describe(self)

    def html(self, title: str = "") -> str:
        """Everything, as one page that needs no other; `title` says what was explained."""
        from genie_plugins.explain.page import page

        return page(self, title)

    def save_html(self, path: str | os.PathLike[str], title: str = "") -> None:
        """Write the page to a file."""
        Path(path).write_text(self.html(title), encoding="utf-8")

    def close(self) -> None:
        """Note no more flushes."""
        with _lock:
            if self not in _open:
                return
            self._settle()
            latest, self._latest = self._latest, {}
            _open.remove(self)
            Session.observers -= 1
        for device, last in latest.items():
            self._conclude(device, ask(last.session))

    def _conclude(self, device: int, report: Report) -> None:
        self.restrided.update(report.restrided)
        for (where, number), program in self._programs.items():
            if where == device:
                program.outcome = report.outcomes.get(number)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        from genie_plugins.explain.text import render

        return render(self)


def explain() -> Explanation:
    """Keep, from now on, what is recorded and why it is flushed.

    Returns an `Explanation`: programs, their graphs, flushes; it grows while the script runs, and
    `print` shows it. As a context manager, it stops at the block's end.
    """
    explanation = Explanation()
    with _lock:
        _open.append(explanation)
        Session.observers += 1
    return explanation


def keep(device: int, sealed: Sealed, code: EncodedProgram | None, cause: tuple[str, str]) -> None:
    """Note a flush in every open explanation."""
    with _lock:
        for explanation in _open:
            explanation.add(device, sealed, code, cause)


def meaning(node: torch.fx.Node) -> Semantics:
    """A node's `Semantics`; blank for one that nobody knows anything of."""
    found: Semantics = node.meta.get("genie", Semantics())
    return found


def family(pattern: str) -> str:
    """What an instance is one of."""
    return pattern.partition("#")[0]
