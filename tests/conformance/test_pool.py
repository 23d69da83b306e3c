"""A crash or a hang in one case costs that case only, and the page says so."""

from __future__ import annotations

import pytest

pytest.importorskip("expecttest", reason="torch's own test utilities need it")

from conformance import report
from conformance.cases import Case, Verdict
from conformance.misbehaviour import examine
from conformance.pool import examine_all


def cases(*names: str) -> list[Case]:
    return [Case(0, name, "float32", "cpu") for name in names]


def test_a_crash_and_a_hang_cost_their_own_case_only() -> None:
    running = examine_all(
        cases("one", "crash", "two", "hang", "three"), examine, workers=2, timeout=2
    )
    found = {verdict.name: verdict for verdict in running}
    assert {name: found[name].status for name in found} == {
        "one": "passed",
        "crash": "crashed",
        "two": "passed",
        "hang": "hung",
        "three": "passed",
    }
    assert found["crash"].reason == "SIGSEGV (sample 3)"


def test_a_spent_budget_leaves_cases_that_are_not_run() -> None:
    found = list(examine_all(cases("one", "two"), examine, workers=1, budget=1e-9))
    assert [verdict.status for verdict in found] == ["not run", "not run"]


def test_the_page_holds_nothing_of_the_machine() -> None:
    crash = "RuntimeError: at 0x7f00dead in /home/someone/venv/torch.so:12 of tcp://10.0.0.7:7070"
    verdicts = [
        Verdict("good", "float32", "passed", 5),
        Verdict("bad", "float32", "failed", 4, 1, reason=crash),
        Verdict("bad", "int64", "passed", 4),
    ]
    found = report.entries(["good", "bad", "neither"], verdicts)
    page = report.as_markdown(found, "2.13.0+cpu")
    assert "torch 2.13.0: **50.0%**" in page
    assert "| `bad` | 1 of 4 fail | passed |" in page
    assert not any(word in page for word in ("7f00dead", "someone", "10.0.0.7"))
    assert report.pass_rate(found) == 0.5
