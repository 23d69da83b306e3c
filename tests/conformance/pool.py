"""Worker processes that examine cases, so that a crash or a hang costs one case only."""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait

from conformance.verdicts import At, Case, Verdict, verdict_of

Examine = Callable[[Case, At], list[Verdict]]
START_S = 120.0  # a worker's first answer comes after it imported torch and the database
_SPAWN = multiprocessing.get_context("spawn")


def examine_all(
    cases: Iterable[Case],
    examine: Examine,
    *,
    workers: int = 2,
    timeout: float = 60.0,
    budget: float = 0.0,
) -> Iterator[list[Verdict]]:
    """Examine `cases` in worker processes and yield each one's verdicts as they come.

    A worker that says nothing for `timeout` seconds is killed and its case has hung; one that
    ends has crashed. Cases that have not begun `budget` seconds after the start are not run
    (0: no limit). `examine` must be importable by name.
    """
    waiting = deque(cases)
    end = time.monotonic() + budget if budget else float("inf")
    crew = [_Worker(examine, timeout) for _ in range(min(workers, len(waiting)))]
    try:
        yield from _drive(crew, waiting, end)
        yield from ([verdict_of(case, "forward", "not run", "budget spent")] for case in waiting)
    finally:
        for worker in crew:
            worker.stop()


def _drive(crew: list[_Worker], waiting: deque[Case], end: float) -> Iterator[list[Verdict]]:
    while True:
        for worker in crew:
            if worker.case is None and waiting and time.monotonic() < end:
                worker.take(waiting.popleft())
        busy = {worker.pipe: worker for worker in crew if worker.case is not None}
        if not busy:
            return
        ready = wait(list(busy), timeout=1.0)
        for pipe, worker in busy.items():
            verdicts = worker.listen() if pipe in ready else worker.overdue()
            if verdicts is not None:
                yield verdicts


class _Worker:
    """One process, started when it is first needed and again after it died."""

    def __init__(self, examine: Examine, timeout: float) -> None:
        self.case: Case | None = None
        self._examine = examine
        self._timeout = timeout
        self._start()

    def _start(self) -> None:
        self._way, self._sample = "forward", 0
        self._errors = pathlib.Path(tempfile.mkstemp(prefix="conformance-", suffix=".log")[1])
        self.pipe, theirs = _SPAWN.Pipe()
        arguments = (self._examine, theirs, str(self._errors))
        self._process = _SPAWN.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        theirs.close()  # else the end of the process would not be the end of the pipe
        self._deadline = time.monotonic() + max(START_S, self._timeout)

    def take(self, case: Case) -> None:
        """Examine `case` next."""
        self.case, self._way, self._sample = case, "forward", 0
        self._deadline = max(self._deadline, time.monotonic() + self._timeout)
        self.pipe.send(case)

    def listen(self) -> list[Verdict] | None:
        """Take in one message; the verdicts, if it ended the case."""
        try:
            message = self.pipe.recv()
        except (EOFError, OSError):
            return self._died()
        self._deadline = time.monotonic() + self._timeout
        if isinstance(message, tuple):
            self._way, self._sample = message
            return None
        self.case = None
        return list(message)

    def overdue(self) -> list[Verdict] | None:
        """A verdict if the process has been silent for too long; it is killed then."""
        if time.monotonic() < self._deadline:
            return None
        self._process.kill()
        return self._replaced("hung", f"no end after {self._timeout:.0f} s")

    def _died(self) -> list[Verdict]:
        self._process.join()
        code = self._process.exitcode or 0
        what = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        last = self._errors.read_text(errors="replace").strip().splitlines()[-1:]
        return self._replaced("crashed", ": ".join([what, *last]))

    def _replaced(self, status: str, what: str) -> list[Verdict]:
        assert self.case is not None
        case, way, sample = self.case, self._way, self._sample
        self.stop()
        self.case = None
        self._start()
        reason = f"{what} (sample {sample})"
        return [verdict_of(case, way, status, reason, sample + 1)]

    def stop(self) -> None:
        """End the process and drop what it wrote."""
        self.pipe.close()
        self._process.join(0.2)
        self._process.kill()
        self._process.join()
        self._errors.unlink(missing_ok=True)


def _work(examine: Examine, pipe: Connection, errors: str) -> None:
    log = os.open(errors, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    import torch

    torch.set_num_threads(1)
    while True:
        try:
            case = pipe.recv()
        except EOFError:
            return
        pipe.send(examine(case, lambda way, sample: pipe.send((way, sample))))
