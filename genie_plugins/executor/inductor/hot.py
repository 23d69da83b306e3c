"""Which of a session's programs are run so often that compiling them pays."""

from __future__ import annotations

import queue
import threading
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import attrs
import msgspec

from genie_core.log import get_logger
from genie_core.protocol import Rewrite

if TYPE_CHECKING:
    from genie_core.protocol import ProgramCode
    from genie_plugins.executor.inductor.compile import Made
    from genie_plugins.executor.native import Store

HOT = 8
"""Runs after which a program is compiled."""
LEAST = 4
"""Ops of a program that is worth it."""
_log = get_logger("inductor")


class HotPrograms:
    """Counts the runs of a session's programs; used by its thread.

    One that is hot is compiled by another thread. What comes of it becomes the program's rewrite:
    the store compares both, twice, since the first run of new code is slow. Unless they agree and
    the new one is faster, the program goes on as it was.
    """

    def __init__(self, store: Store, device: str) -> None:
        self._store = store
        self._device = device
        self._codes: dict[int, tuple[ProgramCode, Rewrite | None]] = {}
        self._runs: Counter[int] = Counter()
        self._done: queue.SimpleQueue[tuple[int, Made]] = queue.SimpleQueue()
        self._unchecked: dict[int, tuple[Made, bool]] = {}

    def define(self, program: int, code: ProgramCode, rewrite: Rewrite | None) -> None:
        """Remember a program, and the rewrite that the client made of it."""
        self._runs.pop(program, None)
        if len(code.ops) >= LEAST:
            self._codes[program] = (code, rewrite)

    def forget(self, programs: list[int]) -> None:
        """Drop programs, and what is being made of them."""
        for program in programs:
            self._codes.pop(program, None)
            self._runs.pop(program, None)
            self._unchecked.pop(program, None)

    def run(self, payload: bytes) -> None:
        """Note a run, before it is done."""
        self._settle()
        program = _program_of(payload)
        if program not in self._codes:
            return
        self._runs[program] += 1
        if self._runs[program] == HOT:
            code, _ = self._codes[program]
            job = _Job(code, self._device, lambda made: self._done.put((program, made)))
            _compiling().put(job)

    def _settle(self) -> None:
        """Take what was compiled meanwhile, and judge what was compared."""
        if self._unchecked:
            self._judge()
        while not self._done.empty():
            program, made = self._done.get()
            if program in self._codes:
                self._install(program, made)

    def _install(self, program: int, made: Made, *, again: bool = False) -> None:
        self._store.define_rewrite(program, *attrs.astuple(made, recurse=False))
        self._unchecked[program] = (made, again)

    def _judge(self) -> None:
        for program, state, reason, error, before, after in self._store.rewrites:
            if program not in self._unchecked or state == "unchecked":
                continue
            made, again = self._unchecked.pop(program)
            if state == "accepted" and not again:
                self._install(program, made, again=True)
                continue
            figures = {"error": error, "seconds_before": before, "seconds_after": after}
            used = state == "accepted" and after < before
            _log.info("program.compiled", program=program, used=used, reason=reason, **figures)
            if not used:
                self._restore(program)

    def _restore(self, program: int) -> None:
        """The client's rewrite again; or the program's own ops, which nothing takes back."""
        code, rewrite = self._codes.pop(program)
        if rewrite is None:
            origins = list(range(len(code.ops)))
            rewrite = Rewrite(code.slots, code.tensors, code.ops, origins, [], [], 0.0, {})
        *fields, _ = msgspec.structs.astuple(rewrite)
        self._store.define_rewrite(program, *fields)


def _program_of(payload: bytes) -> int:
    """The number that a run's payload begins with."""
    number = shift = 0
    for byte in payload:
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return number


@attrs.frozen
class _Job:
    code: ProgramCode
    device: str
    done: Callable[[Made], None]


@lru_cache(None)
def _compiling() -> queue.SimpleQueue[_Job]:
    """What is to be compiled, by a thread that ends with the process."""
    jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), name="genie-inductor", daemon=True).start()
    return jobs


def _work(jobs: queue.SimpleQueue[_Job]) -> None:
    from genie_plugins.executor.inductor.compile import compile_program
    from genie_plugins.executor.inductor.translate import Unsuitable

    while True:
        job = jobs.get()
        try:
            job.done(compile_program(job.code, job.device))
        except Unsuitable as error:
            _log.debug("program.unsuitable", reason=str(error))
        except Exception as error:
            if _missing_compiler(error):
                _log.warning("inductor.off", reason=str(error).splitlines()[0])
                return
            _log.warning("program.not_compiled", reason=f"{type(error).__name__}: {error}")


def _missing_compiler(error: BaseException | None) -> bool:
    while error is not None:
        if type(error).__name__ == "InvalidCxxCompiler":
            return True
        error = getattr(error, "inner_exception", None) or error.__cause__
    return False
