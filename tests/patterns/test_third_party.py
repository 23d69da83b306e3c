"""A pattern in an installed package of somebody else's: listed, found, shown, and replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

PACKAGE = """
import genie_core
import torch


def spelled(x, y):
    return ((x - y) ** 2).mean()


@genie_core.hookimpl
def genie_patterns():
    return [
        genie_core.Pattern(
            "squared_error",
            spellings=[spelled, lambda x, y: (x - y).pow(2).mean()],
            examples=lambda: (torch.empty(2, 3), torch.empty(2, 3)),
            replacement=lambda x, y: torch.nn.functional.mse_loss(x, y),
            tolerance=1e-6,
        )
    ]
"""
SCRIPT = """
import torch

torch.manual_seed(0)
x, y = torch.randn(2, 64, 64)
device = "remote_accelerator"
with torch.no_grad():
    for _ in range(3):
        found = ((x.to(device) - y.to(device)) ** 2).mean()
        torch.testing.assert_close(found.cpu(), ((x - y) ** 2).mean())
        ((x.to(device) - y.to(device)) ** 2).sum().cpu()
        (((x.to(device) - y.to(device)) ** 2).mean() + 1).cpu()
"""


@pytest.fixture
def run(tmp_path):
    """Run Genie's command where the package is installed."""
    info = tmp_path / "genie_errors-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: genie-errors\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[genie.plugins]\nerrors = genie_errors\n")
    (tmp_path / "genie_errors.py").write_text(textwrap.dedent(PACKAGE))
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))

    def call(*arguments, **environment):
        path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH", ""))))
        known = {k: v for k, v in os.environ.items() if k != "GENIE_DEVICES"}
        result = subprocess.run(
            [sys.executable, "-m", "genie_plugins.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**known, "PYTHONPATH": path, **environment},
        )
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return call


def test_it_is_listed(run):
    row = next(row for row in run("plugins", "--json") if row["name"] == "errors")
    assert row["state"] == "loaded"
    assert row["hooks"] == ["genie_patterns"]


def test_it_is_found_and_replaced(run):
    programs = run("explain", "--json", "script.py", GENIE_PASSES="-all,squared_error")["programs"]
    found = [p for p in programs if p["patterns"].get("squared_error")]
    assert found
    assert all(p["passes"] == {"squared_error": 1} for p in found)
    assert {p["rewrite"]["state"] for p in found} == {"accepted"}
    others = [p for p in programs if p not in found]
    assert others
    assert not any(p["passes"] for p in others)
    nodes = [n for p in found for n in p["nodes"] if "squared_error#0" in n["patterns"]]
    assert {n["op"] for n in nodes} == {"aten.sub.Tensor", "aten.pow.Tensor_Scalar", "aten.mean"}


def test_it_is_only_replaced_where_that_is_asked_for(run):
    programs = run("explain", "--json", "script.py")["programs"]
    assert any(p["patterns"].get("squared_error") for p in programs)
    assert not any("squared_error" in p["passes"] for p in programs)


def test_without_it_there_is_no_such_pattern(run):
    programs = run("explain", "--json", "script.py", GENIE_BLOCK_PLUGINS="errors")["programs"]
    assert not any(p["patterns"] for p in programs)
