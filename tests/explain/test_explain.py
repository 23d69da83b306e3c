"""`genie_core.explain()` and `genie explain`: programs, flushes, graphs with their meaning."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import genie_core

SCRIPT = """\
import sys
import torch

print("hello from", *sys.argv[1:])
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh()).to("remote_accelerator")
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for _ in range(4):
    loss = model(torch.ones(2, 3, device="remote_accelerator")).sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    loss.item()
"""


def work(device: torch.device) -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh()).to(device)
    genie_core.synchronize()
    for _ in range(3):
        model(torch.ones(2, 3, device=device)).sum().item()
    return model


def test_programs_runs_reasons_and_lines(device):
    with genie_core.explain() as explanation:
        work(device)
    program = explanation.programs[-1]
    assert program.runs >= 2
    assert program.reasons["read"] == program.runs
    ((reason, where),) = program.flushes
    assert reason == "read"
    assert where.startswith(__file__)
    assert where.endswith("in work")
    assert program.sent > 0
    assert program.ops == len(program.nodes)
    assert program.count("module")["1"] == 1
    assert sum(explanation.flushes.values()) == sum(p.runs for p in explanation.programs)


def test_an_explanation_that_is_closed_grows_no_more(device):
    from genie_core.session import Session

    before = Session.observers
    first = genie_core.explain()
    with genie_core.explain() as second:
        torch.ones(2, device=device).erfc().tolist()
    assert Session.observers == before + 1
    torch.ones(3, device=device).erfc().tolist()
    first.close()
    first.close()
    assert Session.observers == before
    torch.ones(4, device=device).erfc().tolist()
    assert sum(first.flushes.values()) > sum(second.flushes.values()) > 0
    count = sum(first.flushes.values())
    torch.ones(4, device=device).erfc().tolist()
    assert sum(first.flushes.values()) == count


def test_a_program_from_before_has_no_graph_and_says_so(device):
    torch.ones(5, device=device).lgamma().tolist()
    with genie_core.explain() as explanation:
        torch.ones(5, device=device).lgamma().tolist()
    (program,) = explanation.programs
    assert program.graph is None
    assert program.nodes == []
    assert "first seen before the explanation began" in str(explanation)
    assert explanation.as_dict()["programs"][0]["nodes"] is None


def test_the_text_shows_modules_phases_roles_and_lines(device):
    with genie_core.explain() as explanation, genie_core.annotate("mine", part=1):
        model = work(device)
        model(torch.ones(2, 3, device=device)).sum().backward()
        genie_core.synchronize()
    text = str(explanation)
    assert "0 · Linear · forward" in text
    assert "1 · Tanh · backward" in text
    assert "= aten.addmm(" in text
    assert "float32[2, 4]" in text
    assert "activation · test_explain.py:" in text
    assert "@mine(part=1)" in text
    assert "ops by module:" in text


def test_print_readable_has_a_line_for_each_node(device, capsys):
    with genie_core.explain() as explanation:
        work(device)
    program = explanation.programs[-1]
    program.print_readable()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len([node for node in program.graph.nodes if node.op != "output"])
    (line,) = [line for line in lines if "aten.addmm" in line]
    for part in ("float32[2, 4]", "# 0 · Linear · forward · activation · test_explain.py:"):
        assert part in line
    assert any("0.weight" in line or "weight" in line for line in lines)


def test_as_dict_is_json_and_whole(device):
    with genie_core.explain() as explanation:
        work(device)
    data = json.loads(json.dumps(explanation.as_dict()))
    program = data["programs"][-1]
    assert program["phases"] == {"forward": program["ops"]}
    (node,) = [node for node in program["nodes"] if node["op"] == "aten.addmm"]
    assert node["results"] == [{"dtype": "float32", "size": [2, 4]}]
    assert (node["module"], node["module_type"], node["role"]) == ("0", "Linear", "activation")
    weights = [node for node in program["nodes"] if node["role"] == "weight"]
    assert {name for node in weights for name in node["parameters"]} == {"0.weight", "0.bias"}
    assert all(node["residency"] == "pinned" for node in weights)


def run(script: Path, *options: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genie_plugins.cli", "explain", *options]
    result = subprocess.run(command, capture_output=True, text=True, cwd=script.parent)
    assert result.returncode == code, result.stderr
    return result


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def test_the_command_explains_an_unmodified_script(script):
    output = run(script, str(script), "you", "--too").stdout
    assert output.startswith("hello from you --too\n")
    assert "train.py:13 in <module>" in output
    for part in ("phases", "backward", "optimizer", "0 · Linear · forward", "roles: "):
        assert part in output


def test_json_is_all_that_goes_to_stdout(script):
    result = run(script, "--json", str(script))
    data = json.loads(result.stdout)
    assert "hello from" in result.stderr
    assert sum(program["runs"] for program in data["programs"]) >= 4
    assert {"reason", "where", "count"} == set(data["flushes"][0])


def test_a_script_that_fails_is_explained_up_to_there(script):
    script.write_text(SCRIPT + "\nraise KeyError('mine')\n")
    result = run(script, str(script), code=1)
    assert "KeyError: 'mine'" in result.stderr
    assert "0 · Linear · forward" in result.stdout
    script.write_text(SCRIPT + "\nsys.exit(7)\n")
    run(script, str(script), code=7)
    script.write_text(SCRIPT + "\nsys.exit('mine')\n")
    assert "mine" in run(script, str(script), code=1).stderr
