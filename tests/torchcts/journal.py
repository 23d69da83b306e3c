"""A plugin of pytest that lets TorchCTS be stopped at any test, and go on from there.

TorchCTS itself writes all results anew after each test, and starts over the next time.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import attrs
import pytest

TRIES = 2  # a test that was cut off that often is to blame


@attrs.define
class Entry:
    """What is known of a test that was begun."""

    status: str = ""
    message: str = ""
    begun: int = 0

    @property
    def failed(self) -> bool:
        """Whether it failed, crashed or hung."""
        return self.status not in ("PASS", "SKIP")


def read(path: pathlib.Path) -> dict[str, Entry]:
    """The tests that were begun; one that did not end has no status."""
    found: dict[str, Entry] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            said = json.loads(line)
            entry = found.setdefault(said.pop("test"), Entry())
            entry.begun += not said
            entry.status = said.get("status", entry.status)
            entry.message = said.get("message", entry.message)
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--journal", type=pathlib.Path, help="File to go on with.")


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--journal"):
        _skip_slow_bookkeeping()
        config.pluginmanager.register(Journal(path))


class Journal:
    """Results, a line each."""

    def __init__(self, path: pathlib.Path) -> None:
        known = read(path)
        self._done = {name for name, entry in known.items() if entry.status}
        self._file = path.open("a", encoding="utf-8", buffering=1)
        for name, entry in known.items():
            if not entry.status and entry.begun >= TRIES:
                self._end(name, "ERROR", "its process ended, or it took too long")

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        vars(sys.modules["torchcts.conftest"])["flush_results_to_disk"] = lambda: None
        config.hook.pytest_deselected(items=[i for i in items if i.nodeid in self._done])
        items[:] = [item for item in items if item.nodeid not in self._done]

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(test=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or (report.when == "setup" and not report.passed):
            result = sys.modules["torchcts.conftest"]._SESSION_RESULTS[report.nodeid]
            message = str(result["error_message"] or result["error_type"] or "")
            self._end(report.nodeid, result["status"], message)
        elif report.failed:
            self._end(report.nodeid, "ERROR", report.longreprtext)

    def pytest_unconfigure(self) -> None:
        self._file.close()

    def _end(self, name: str, status: str, message: str) -> None:
        self._done.add(name)
        self._write(test=name, status=status, message=message)

    def _write(self, **entry: Any) -> None:
        self._file.write(json.dumps(entry) + "\n")


def _skip_slow_bookkeeping() -> None:
    """Spare most of the time of a run.

    An OpInfo that makes a sample looks through the stack for a test case of torch's own, and
    TorchCTS reads the versions of thousands of ops each time that it asks for one op.
    """
    import torchcts.op_metadata
    from torch.testing._internal import common_utils
    from torch.testing._internal.opinfo import core

    versions = torchcts.op_metadata._validation_metadata(None)
    torchcts.op_metadata._validation_metadata = lambda metadata: versions
    common_utils.extract_test_fn = core.extract_test_fn = lambda: None
