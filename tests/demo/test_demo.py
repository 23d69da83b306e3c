"""`genie demo` and `genie bench`: what they say and how they exit."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
import types
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from genie_plugins.bench import run as bench
from genie_plugins.demo import run as demo

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    import torch


def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_demo_holds_all_its_checks(device: torch.device) -> None:
    pytest.importorskip("sklearn")
    if not pytest.importorskip("transformers").utils.is_torch_available():
        pytest.skip("this transformers does not support this torch")
    out = console()
    assert demo.run(out, device.type) == 0, said(out)
    assert "330 of 330 losses" in said(out)
    assert 'to("remote_accelerator")' in said(out)


def test_the_demo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without_sklearn(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "sklearn" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_sklearn)
    out = console()
    assert demo.run(out, "cpu") == 2
    assert "pip install scikit-learn" in said(out)


def test_an_unknown_benchmark_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run("nonsense", as_json=False) == 2
    said = " ".join(capsys.readouterr().out.split())
    assert f"choose one of {', '.join(bench.NAMES)}" in said


@pytest.mark.parametrize("as_json", [True, False])
def test_a_benchmark_is_shown(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"op": "add", "genie_us": 0.5, "met": True, "lazy_us": None, "bytes": 12345}]
    module = types.SimpleNamespace(__doc__="A title.\n\nMore.", run=lambda: rows)
    monkeypatch.setitem(sys.modules, "genie_benchmarks.capture", module)
    assert bench.run("capture", as_json=as_json) == 0
    printed = capsys.readouterr().out
    if as_json:
        assert json.loads(printed)["rows"] == rows
    else:
        assert all(word in printed for word in ("A title.", "0.500", "yes", "–", "12,345"))


@pytest.mark.parametrize("as_json", [True, False])
def test_a_benchmark_of_several_tables_is_shown(
    as_json: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    result = {
        "rows": [{"figure": "speed", "value": 7}],
        "speed": 7,
        "kinds": {"lofty": {"share": 0.25}},
        "skipped": [],
    }
    module = types.SimpleNamespace(__doc__="A title.", run=lambda: result)
    monkeypatch.setitem(sys.modules, "genie_benchmarks.capture", module)
    assert bench.run("capture", as_json=as_json) == 0
    printed = capsys.readouterr().out
    if as_json:
        found = json.loads(printed)
        assert {key: found[key] for key in result} == result
    else:
        assert printed.index("lofty") < printed.index("A title.")
        assert "0.250" in printed
