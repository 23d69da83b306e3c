"""A crash or a hang in one case costs that case only, and the page says so."""

from __future__ import annotations

import pytest

pytest.importorskip("expecttest", reason="torch's own test utilities need it")

from conformance import page, report
from conformance.misbehaviour import examine
from conformance.pool import examine_all
from conformance.verdicts import Case, Verdict


def cases(*names: str) -> list[Case]:
    return [Case("op", 0, name, "float32", "cpu") for name in names]


def verdict(name: str, dtype: str, way: str, status: str, samples: int, failed: int = 0) -> Verdict:
    crash = "RuntimeError: at 0x7f00dead in /home/someone/venv/torch.so:12 of tcp://10.0.0.7:7070"
    reason = crash if failed else ""
    return Verdict("op", name, dtype, way, status, samples, failed, reason=reason)


def test_a_crash_and_a_hang_cost_their_own_case_only() -> None:
    running = examine_all(
        cases("one", "crash", "two", "hang", "three"), examine, workers=2, timeout=2
    )
    found = {verdict.name: verdict for verdicts in running for verdict in verdicts}
    assert {name: found[name].status for name in found} == {
        "one": "passed",
        "crash": "crashed",
        "two": "passed",
        "hang": "hung",
        "three": "passed",
    }
    assert (found["crash"].way, found["crash"].reason) == ("backward", "SIGSEGV (sample 3)")


def test_a_spent_budget_leaves_cases_that_are_not_run() -> None:
    found = list(examine_all(cases("one", "two"), examine, workers=1, budget=1e-9))
    assert [verdict.status for verdicts in found for verdict in verdicts] == ["not run", "not run"]


def test_an_entry_fails_where_one_of_its_ways_fails() -> None:
    verdicts = [
        verdict("good", "float32", "forward", "passed", 5),
        verdict("bad", "float32", "forward", "passed", 5),
        verdict("bad", "float32", "backward", "failed", 4, 1),
        verdict("gone", "float32", "forward", "excluded", 2),
    ]
    found = report.entries("op", ["good", "bad", "gone", "no dtype"], verdicts)
    assert [entry.status for entry in found] == ["failed", "excluded", "passed", "excluded"]
    assert report.pass_rate(found) == 0.5
    assert report.by_dtype_and_way(found)["float32", "backward"] == (0, 1)


def test_the_page_holds_nothing_of_the_machine() -> None:
    verdicts = [
        verdict("good", "float32", "forward", "passed", 5),
        verdict("bad", "float32", "backward", "failed", 4, 1),
        verdict("bad", "int64", "forward", "passed", 4),
    ]
    found = {"op": report.entries("op", ["good", "bad"], verdicts)}
    text = page.as_markdown(found, "2.13.0+cpu", elsewhere=["models.md"])
    assert "torch 2.13.0: **50.0%**" in text
    assert "| `bad` | backward | float32 (1 of 4) | RuntimeError: at 0x… in … of" in text
    assert "[models](models.md)" in text
    assert not any(word in text for word in ("7f00dead", "someone", "10.0.0.7"))
