"""What an explanation tells of each program: waiting, patterns, bytes, lines that are borrowed."""

from __future__ import annotations

import json
import re

import pytest
import torch
from semantics.recording import forget_programs

import genie_core
from genie_plugins.explain import sizes


def test_only_flushes_whose_reply_was_waited_for_have_a_time(device):
    x = torch.ones(7, device=device)
    genie_core.synchronize(device)
    with genie_core.explain() as explanation:
        for _ in range(3):
            x.erfc().cosh().tolist()
        for _ in range(3):
            x.lgamma().sinh()
            genie_core.synchronize(device)
            genie_core.synchronize(device)  # waits for the same run
    read, synced = (p for p in explanation.programs if p.ops == 2)
    assert (read.runs, read.waits) == (3, 3)
    assert (synced.runs, synced.waits) == (3, 3)
    assert 0 < read.waited < 60
    assert "waited" in str(explanation).splitlines()[0]
    for program in explanation.as_dict()["programs"]:
        assert (program["seconds_waited"] > 0) is (program["waits"] > 0)


def test_a_flush_that_nobody_waits_for_has_none(device):
    x = torch.ones(7, device=device)
    genie_core.synchronize(device)
    from genie_core.dispatcher import dispatcher

    with genie_core.explain() as explanation:
        x.erfc().cosh()
        dispatcher.session(device.index).flush("size")
    genie_core.synchronize(device)
    (program,) = explanation.programs
    assert (program.waits, program.waited) == (0, 0.0)


def test_time_is_that_of_the_program_that_was_waited_for(device, monkeypatch):
    from genie_core.dispatcher import dispatcher

    session = dispatcher.session(device.index)
    receive = session._channel.receive
    x = torch.ones(7, device=device)
    genie_core.synchronize(device)

    def slow(*arguments):
        session.waited += 1000.0
        return receive(*arguments)

    with genie_core.explain() as explanation:
        x.erfc().cosh().tolist()
        with monkeypatch.context() as patch:
            patch.setattr(session._channel, "receive", slow, raising=False)
            x.lgamma().sinh().tolist()
        x.acosh().log2().tolist()
    waited = [program.waited > 999 for program in explanation.programs]
    assert waited == [False, True, False]


def test_instances_of_patterns_are_counted_by_family(device, match):
    with genie_core.explain() as explanation:
        torch.ones(3, device=device).erfc().cosh().sinh().lgamma().tolist()
    (program,) = explanation.programs
    assert program.patterns == {}
    match(program, erfc=("curve#0",), cosh=("curve#0", "pair#0"), sinh=("curve#1", "pair#0"))
    assert program.patterns == {"curve": 2, "pair": 1}
    text = str(explanation)
    assert "  patterns: curve 2, pair 1" in text
    assert " · curve#0 · pair#0" in text
    data = json.loads(json.dumps(explanation.as_dict()))["programs"][0]
    assert data["patterns"] == {"curve": 2, "pair": 1}
    assert [n["patterns"] for n in data["nodes"] if "cosh" in n["name"]] == [["curve#0", "pair#0"]]


def test_bytes_are_those_of_the_elements(device):
    with genie_core.explain() as explanation:
        y = torch.ones(3, 5, device=device, dtype=torch.float64).erfc()
        torch.sort(y, 1)
        genie_core.synchronize(device)
    nodes = {n["op"]: n for n in explanation.as_dict()["programs"][-1]["nodes"]}
    assert nodes["aten.erfc"]["bytes"] == 3 * 5 * 8
    assert nodes["aten.sort"]["bytes"] == 3 * 5 * (8 + 8)


def test_bytes_of_lifted_sizes_are_those_of_the_first_run(device):
    with genie_core.explain() as explanation:
        for length in (3, 7):
            x = torch.arange(float(length)).to(device)
            genie_core.synchronize(device)
            torch.special.i1e(x)  # no other test has it
            genie_core.synchronize(device)
    found = [n for p in explanation.as_dict()["programs"] for n in p["nodes"] or ()]
    assert [n["bytes"] for n in found if n["op"] == "aten.special_i1e"] == [3 * 4, 7 * 4]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (3 << 20, "3.0 MiB"),
        (1 << 60, "1048576.0 TiB"),
    ],
)
def test_bytes_as_people_read_them(count, text):
    assert sizes.readable(count) == text


def test_borrowed_lines_are_shown_as_such(device):
    x = torch.ones(3, device=device)
    genie_core.synchronize(device)
    forget_programs(device)

    def first() -> None:
        x.exp2().log1p().atan()

    def second() -> None:
        x.exp2().log1p().asinh()

    with genie_core.explain() as explanation:
        for work in (first, second):
            work()
            genie_core.synchronize(device)
    earlier, later = str(explanation).split("\n\nprogram ")[1:]
    assert "as at" not in earlier
    assert later.count("as at test_facts.py:") == 2
    assert f"this program's own is before {__file__}:" in later
    assert later.count("before") == 1


def test_rewrites_and_what_became_of_them(device):
    x = torch.randn(5).to(device)
    with genie_core.explain() as explanation:
        for _ in range(2):
            ((x * 3).atan() + (x * 3).atan()).cpu()
    program = explanation.programs[0]
    assert program.passes == {"common_subexpressions": 2}
    assert program.outcome.state == "accepted"
    assert "rewritten: common_subexpressions 2: accepted" in str(explanation)
    assert "Rewritten by common_subexpressions 2: accepted" in explanation.html()
    told = explanation.as_dict()["programs"][0]
    assert told["rewrite"]["state"] == "accepted"
    assert told["rewrite"]["error"] == 0


@pytest.fixture
def turned():
    library = torch.library.Library("genie_facts", "DEF")
    library.define("turned(Tensor x) -> Tensor")
    library.impl("turned", lambda x: x.clone().T, "CPU")
    library.impl("turned", lambda x: x.new_empty(x.shape[::-1]), "Meta")
    yield
    if hasattr(library, "_destroy"):  # torch 2.2
        library._destroy()


def test_strides_that_were_promised_otherwise_are_told(device, turned):
    """A third party's rule that is wrong of strides costs a copy, and is named."""
    x = torch.randn(3, 4)
    with genie_core.explain() as explanation:
        found = torch.ops.genie_facts.turned(x.to(device)).cpu()
    assert torch.equal(found, x.T)
    assert explanation.restrided["genie_facts::turned"] == 1  # of all that the executor ran
    assert re.search(
        r"strides were not those inferred, of .*genie_facts::turned 1", str(explanation)
    )
