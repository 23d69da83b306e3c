"""Start an executor as a process of its own; the benchmarks and the tests do so too."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator

import attrs

from genie_core.errors import ConnectionFailed


@attrs.frozen
class ExecutorProcess:
    """A running `genie serve`: its address and its process."""

    url: str
    process: subprocess.Popen[str]

    def kill(self) -> None:
        """End the process at once, as a crash would, and wait for it."""
        self.process.kill()
        self.process.wait()

    def stop(self, grace: float = 10.0) -> int:
        """Ask the process to end; kill it after `grace` seconds. Returns its exit status."""
        self.process.terminate()
        try:
            return self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode


class _Announcement:
    """Reads what the process prints: its address first, then a tail to quote in an error."""

    def __init__(self, process: subprocess.Popen[str], scheme: str) -> None:
        self.url = ""
        self.tail: deque[str] = deque(maxlen=20)
        self.settled = threading.Event()
        self._process = process
        self._address = re.compile(re.escape(scheme) + r"://\S+")
        threading.Thread(target=self._drain, name="genie-serve-output", daemon=True).start()

    def _drain(self) -> None:
        # To the end of the output, or a full pipe would stop the executor.
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                self.tail.append(line)
                found = None if self.url else self._address.search(line)
                if found:
                    self.url = found.group()
                    self.settled.set()
        self.settled.set()


def _never_started(command: list[str], output: Iterable[str]) -> str:
    return f"`{' '.join(command)}` announced no address; it printed:\n{''.join(output)}"


@contextlib.contextmanager
def executor_process(
    url: str = "tcp://127.0.0.1:0",
    device: str = "cpu",
    *,
    threads: int = 1,
    timeout: float = 120.0,
) -> Iterator[ExecutorProcess]:
    """Run `genie serve URL --device DEVICE` for as long as the `with` block lasts.

    `threads` is the executor's number of compute threads, `timeout` the seconds it may take to
    announce its address. Raises `ConnectionFailed`, quoting what it printed, if it does not.
    """
    command = [sys.executable, "-m", "genie_plugins.cli", "serve", url, "--device", device]
    # Whoever leaves the `with` block is done with it: no grace for connected clients.
    command += ["--threads", str(threads), "--grace", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
    )
    executor = ExecutorProcess(url, process)
    try:
        announced = _Announcement(process, url.partition("://")[0])
        if not announced.settled.wait(timeout) or not announced.url:
            raise ConnectionFailed(url, _never_started(command, announced.tail))
        yield attrs.evolve(executor, url=announced.url)
    finally:
        executor.stop()
