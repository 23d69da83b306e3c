"""The page: whole, with nothing from elsewhere, and nothing of the user's that could run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from semantics.recording import forget_programs
from torch import nn

import genie_core
from genie_plugins.explain import drawing, explanation, flow, markup

VOID = {"meta", "input"}


class Page(HTMLParser):
    """A page's elements: each with tag, attributes, the boxes around it, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str], tuple[str, ...], list[str]]] = []
        self._open: list[tuple[str, list[str]]] = []
        self._boxes: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        element = (tag, {k: v or "" for k, v in attrs}, tuple(self._boxes), [])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append((tag, element[3]))

    def handle_endtag(self, tag):
        name, _ = self._open.pop()
        assert name == tag
        if tag == "summary":
            self._boxes.append(self._summary)
        elif tag == "details":
            self._boxes.pop()

    def handle_data(self, data):
        for _, text in self._open:
            text.append(data)
        if self._open and self._open[-1][0] == "b":
            self._summary = data

    def of(self, tag: str, name: str = "") -> list[tuple[dict[str, str], tuple[str, ...], str]]:
        """Attributes, boxes around, and text of elements with that class."""
        return [
            (attributes, boxes, "".join(text))
            for found, attributes, boxes, text in self.elements
            if found == tag and (not name or name in attributes.get("class", "").split())
        ]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x).tanh()


def explained(device: torch.device) -> genie_core.Explanation:
    model = nn.Sequential(Block(), Block()).to(device)
    genie_core.synchronize(device)
    with genie_core.explain() as found:
        model(torch.ones(2, 3, device=device)).sum().backward()
        genie_core.synchronize(device)
    return found


def test_boxes_are_nested_as_modules_are_and_colored_by_phase(device):
    page = Page(explained(device).html("mine"))
    ops = [(a["class"], boxes[1:], text) for a, boxes, text in page.of("div", "op")]
    (first, second) = [(c, b) for c, b, text in ops if text.startswith("aten.addmm")]
    assert first == ("op phase-forward", ("Sequential", "0", "linear"))
    assert second == ("op phase-forward", ("Sequential", "1", "linear"))
    assert [b for _, b, text in ops if text.startswith("aten.tanhfloat")] == [
        ("Sequential", "0"),
        ("Sequential", "1"),
    ]
    backward = {b for c, b, _ in ops if c == "op phase-backward"}
    assert {("Sequential", "0", "linear"), ("Sequential", "1", "linear")} <= backward
    lanes = [attributes["class"] for attributes, _, _ in page.of("section", "lane")]
    assert lanes == ["lane phase-forward", "lane phase-backward"]
    assert "mine – genie explain" in [text for _, _, text in page.of("title")]


def test_rows_tell_tensor_bytes_role_and_line(device):
    page = Page(explained(device).html())
    (row,) = {t for _, b, t in page.of("div", "op") if t.startswith("aten.addmm") and "0" in b}
    assert re.fullmatch(
        r"aten\.addmmfloat32\[2, 3\]24 Bactivationtest_html\.py:\d+ in forward", row
    )


def test_the_overview_tells_runs_reasons_lines_and_waiting(device):
    found = explained(device)
    tables = Page(found.html()).of("table")
    (program,) = found.programs
    cells = tables[0][2]
    assert f"{program.device}/{program.number}" in cells
    assert re.search(r"\d+\.\d ms in 1", cells)
    assert "sync" in tables[1][2]
    assert f"{__file__}:" in tables[1][2]


def test_a_page_needs_nothing_from_elsewhere(device):
    text = explained(device).html()
    assert not re.search(r"src=|@import|url\(|https?://(?!www\.w3\.org/2000/svg)", text)
    page = Page(text)
    assert not page.of("link")
    assert len(page.of("script")) == len(page.of("style")) == 1


def test_inner_boxes_are_closed_at_first_and_the_longest_program_is_open(device):
    with genie_core.explain() as found:
        explained(device)
        torch.ones(3, device=device).erfc().tolist()
    page = Page(found.html())
    opened = {text.partition("1 op")[0]: "open" in a for a, _, text in page.of("details", "box")}
    assert opened["linearLinear"] is False
    boxes = [("open" in a, len(around)) for a, around, _ in page.of("details", "box")]
    assert {depth for is_open, depth in boxes if is_open} == {1, 2}
    programs = ["open" in attributes for attributes, _, _ in page.of("details", "program")]
    longest = max(range(len(programs)), key=lambda i: len(found.programs[i].nodes))
    assert programs == [i == longest for i in range(len(programs))]


EVIL = "</script></style><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;"


def test_what_the_user_wrote_is_text_and_no_markup(device, match):
    evil = type(EVIL, (nn.Module,), {"forward": lambda self, x: self.inner(x.erfc())})()
    evil.add_module("inner", type("<b>", (nn.Module,), {"forward": lambda self, x: x.cosh()})())
    with genie_core.explain() as found, genie_core.annotate(EVIL, key=f"{EVIL}\x00"):
        evil(torch.ones(3, device=device))
        scope = {"x": torch.ones(4, device=device)}
        exec(compile("y = x.erfc().sinh()\ny.tolist()", f"/{EVIL}", "exec"), scope)
    for program in found.programs:
        match(program, cosh=(f"{EVIL}#0",), sinh=(f"{EVIL}#1",))
    text = found.html(EVIL)
    page = Page(text)
    assert "alert(1)" in text
    assert len(page.of("script")) == len(page.of("style")) == 1
    assert "alert" not in page.of("script")[0][2] + page.of("style")[0][2]
    assert not page.of("img")
    assert "\x00" not in text
    assert "\N{REPLACEMENT CHARACTER}" in text
    for _, attributes, _, _ in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert "alert" not in attributes.get("style", "") + attributes.get("class", "")
    assert any("<script>alert(1)</script>" in text for _, _, text in page.of("b"))


def test_matched_ops_are_outlined_and_labelled(device, match):
    with genie_core.explain() as found:
        torch.ones(3, device=device).erfc().cosh().sinh().tolist()
    (program,) = found.programs
    match(program, erfc=("curve#0",), cosh=("curve#0", "pair#0"))
    page = Page(found.html())
    matched = page.of("div", "matched")
    assert [text.partition("float")[0] for _, _, text in matched] == ["aten.erfc", "aten.cosh"]
    assert matched[0][0]["style"] == matched[1][0]["style"]
    badges = [text for _, _, text in page.of("span", "pattern")]
    for label in ("curve#0", "pair#0", "curve ×1", "curve 1"):
        assert label in badges
    assert "curve 1, pair 1" in page.of("table")[0][2]


def test_edges_follow_values_that_are_changed_in_place(device):
    x, out = torch.ones(3, device=device), torch.zeros(3, device=device)
    genie_core.synchronize(device)
    forget_programs(device)
    with genie_core.explain() as found:
        y = x.erfc()
        y.view(-1).mul_(2.0)
        torch.cosh(y, out=out)
        torch._foreach_add_([y, out], 1.0)
        (out + x).tolist()
    (program,) = found.programs
    names = [node.meta["op"].partition(".")[0] for node in program.nodes]
    assert names == ["aten::erfc", "aten::mul_", "aten::cosh", "aten::_foreach_add_", "aten::add"]
    assert flow.sources(program.nodes) == [[], [0], [1], [1, 2], [3]]


def test_a_program_from_before_says_so(device):
    torch.ones(5, device=device).lgamma().tolist()
    with genie_core.explain() as found:
        torch.ones(5, device=device).lgamma().tolist()
    assert "First seen before the explanation began." in found.html()


def test_nothing_at_all_is_a_page_too():
    page = Page(explanation.Explanation().html())
    assert page.of("div", "drawing") == []


def test_every_phase_has_a_color():
    style = Path(drawing.__file__).with_name("page.css").read_text()
    for phase in (*drawing.PHASES, "other"):
        assert f".phase-{phase} " in style
        assert style.count(f"--{phase}:") == 2  # light and dark
    assert drawing.color_of("x y") == "phase-other"


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_the_script_is_well_formed():
    path = Path(drawing.__file__).with_name("page.js")
    assert subprocess.run(["node", "--check", str(path)]).returncode == 0


def test_text_and_attributes_are_escaped():
    element = markup.tag("p", "<a&b>", markup.tag("i", "x"), "<c>", title='"<&', class_="k")
    assert markup.document(element) == (
        '<!doctype html>\n<p title="&quot;<&amp;" class="k">&lt;a&amp;b&gt;<i>x</i>&lt;c&gt;</p>\n'
    )
    assert "\ud800" not in markup.clean("\ud800")


# The command ---------------------------------------------------------------------------------


def run(script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "genie_plugins.cli", "explain", *options, str(script)]
    return subprocess.run(command, capture_output=True, text=True, cwd=script.parent)


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "train.py"
    path.write_text(
        "import os, torch\nos.chdir('/')\nx = torch.ones(3, device='remote_accelerator')\n"
        "print('said')\nx.erfc().cosh().tolist()\n"
    )
    return path


def test_the_command_writes_a_page(script):
    result = run(script, "--html", "page.html")
    assert (result.returncode, result.stdout) == (0, "said\n")
    text = (script.parent / "page.html").read_text()
    assert "train.py – genie explain" in text
    assert "aten.cosh" in text
    both = run(script, "--json", "--html", "page.html")
    assert both.stdout.startswith("{")


def test_a_page_that_cannot_be_written_is_refused_before_the_script_runs(script):
    result = run(script, "--html", "nowhere/page.html")
    assert result.returncode == 2
    assert "No such file" in result.stderr
    assert "said" not in result.stdout
