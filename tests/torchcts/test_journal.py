from __future__ import annotations

import importlib
import json
import pathlib

import pytest


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(pathlib.Path(__file__).parent)
    return importlib.import_module("journal")


def test_a_test_that_ended_keeps_its_result(journal, tmp_path):
    path = tmp_path / "kept"
    path.write_text(_lines({"test": "a"}, {"test": "a", "status": "FAIL", "message": "no"}))
    assert journal.read(path) == {"a": journal.Entry("FAIL", "no", begun=1)}
    assert journal.read(path)["a"].failed


def test_one_that_was_cut_off_is_tried_again_once(journal, tmp_path):
    path = tmp_path / "kept"
    path.write_text(_lines({"test": "a"}))
    journal.Journal(path).pytest_unconfigure()
    assert journal.read(path)["a"].status == ""
    path.write_text(_lines({"test": "a"}, {"test": "a"}))
    journal.Journal(path).pytest_unconfigure()
    assert journal.read(path)["a"].status == "ERROR"


def test_nothing_is_known_before_the_first_run(journal, tmp_path):
    assert journal.read(tmp_path / "kept") == {}


def _lines(*entries: dict[str, str]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)
