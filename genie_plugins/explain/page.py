"""An explanation as a page of HTML that needs nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib.resources import files
from xml.etree.ElementTree import Element

import torch.fx

from genie_plugins.explain.drawing import badge, color_of, draw
from genie_plugins.explain.explanation import Explanation, Program, meaning
from genie_plugins.explain.markup import document, tag
from genie_plugins.explain.outcomes import sentence
from genie_plugins.explain.sizes import milliseconds, nbytes, readable, results
from genie_plugins.explain.text import counts, latest, module_name, name_of, shape

Node = torch.fx.Node
_HINT = "module, op, role, pattern, file:line …"
_NOTE = (
    "A program is shown as it was run first; equal blocks of a model may be runs of one. "
    "Waited: from message to reply, of the runs that somebody waited for."
)


def page(explanation: Explanation, title: str = "") -> str:
    """The whole page; `title` says what was explained."""
    programs = explanation.programs
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} – genie explain" if title else "genie explain"),
        tag("style", _own("page.css")),
    )
    body = tag(
        "body",
        _header(title),
        tag("main", *_overview(explanation), *_all(programs)),
        tag("script", _own("page.js")),
    )
    return document(tag("html", head, body, lang="en"))


def _own(name: str) -> str:
    return files("genie_plugins.explain").joinpath(name).read_text(encoding="utf-8")


def _header(title: str) -> Element:
    return tag(
        "header",
        tag("h1", "genie explain", tag("small", title)),
        tag("input", id="search", type="search", placeholder=_HINT, aria_label="Search"),
        tag("output", id="found"),
        _button("expand", "Open all"),
        _button("collapse", "Close all"),
        _button("edges", "Edges", aria_pressed="true"),
        _button("theme", "◐", title="dark or light"),
    )


def _button(name: str, text: str, **attributes: str) -> Element:
    return tag("button", text, id=name, type="button", **attributes)


# Overview ------------------------------------------------------------------------------------


def _overview(explanation: Explanation) -> tuple[Element, ...]:
    programs = explanation.programs
    return _figures(programs), _programs(programs), _flushes(explanation.flushes)


def _figures(programs: list[Program]) -> Element:
    figures = {
        "programs": f"{len(programs):,}",
        "runs": f"{sum(p.runs for p in programs):,}",
        "ops run": f"{sum(p.runs * p.ops for p in programs):,}",
        "sent": readable(sum(p.sent for p in programs)),
        "waited": milliseconds(sum(p.waited for p in programs)),
    }
    tiles = [tag("div", tag("b", value), name) for name, value in figures.items()]
    return tag("div", *tiles, class_="tiles")


def _programs(programs: list[Program]) -> Element:
    columns = ("program", "ops", "runs", "sent", "waited", "flushed by", "phases", "patterns")
    rows = [_row(program) for program in programs]
    return tag("section", tag("h2", "Programs"), _table(columns, rows), tag("p", _NOTE))


def _row(program: Program) -> list[Element | str]:
    name = tag("a", name_of(program), href=f"#{_anchor(program)}")
    numbers = f"{program.ops:,}", f"{program.runs:,}", readable(program.sent)
    waited = f"{milliseconds(program.waited)} in {program.waits:,}" if program.waits else "–"
    why = counts(program.reasons), counts(program.count("phase")), counts(program.patterns)
    return [name, *numbers, waited, *why]


def _flushes(flushes: Counter[tuple[str, str]]) -> Element:
    rows: list[list[Element | str]] = [
        [f"{count:,}", reason, tag("code", where)]
        for (reason, where), count in flushes.most_common()
    ]
    return tag("section", tag("h2", "Flushes"), _table(("flushes", "reason", "by"), rows))


def _table(columns: Iterable[str], rows: Iterable[list[Element | str]]) -> Element:
    head = tag("thead", tag("tr", *(tag("th", name) for name in columns)))
    body = (tag("tr", *(tag("td", cell) for cell in row)) for row in rows)
    return tag("div", tag("table", head, tag("tbody", *body)), class_="table")


def _anchor(program: Program) -> str:
    return f"program-{program.device}-{program.number}"


# Programs ------------------------------------------------------------------------------------


def _all(programs: list[Program]) -> list[Element]:
    """All programs, the longest opened."""
    longest = max(programs, key=lambda program: len(program.nodes), default=None)
    return [_program(program, opened=program is longest) for program in programs]


def _program(program: Program, *, opened: bool) -> Element:
    facts = f"{program.ops:,} ops · run {program.runs:,}× · {counts(program.reasons)}"
    summary = tag("summary", tag("b", f"Program {name_of(program)}"), tag("small", facts))
    if program.graph is None:
        content = [tag("p", "First seen before the explanation began.")]
    else:
        notes = [*_rewritten(program), *_borrowed(program)]
        content = [_legend(program), *notes, _flushes(program.flushes)]
        content += [draw(program), _values(program.graph)]
    attributes = {"open": ""} if opened else {}
    name = {"class_": "program", "id": _anchor(program)}
    return tag("details", summary, *content, **name, **attributes)


def _legend(program: Program) -> Element:
    chips = [
        tag("span", f"{phase or 'unknown phase'} {count:,}", class_=f"chip {color_of(phase)}")
        for phase, count in program.count("phase").items()
    ]
    families = [badge(name, f"{name} {count:,}") for name, count in program.patterns.items()]
    roles = tag("span", f"roles: {counts(program.count('role'))}", class_="roles")
    return tag("div", *chips, *families, roles, class_="legend")


def _rewritten(program: Program) -> list[Element]:
    said = f"Rewritten by {sentence(program.passes, program.outcome)}."
    return [tag("p", said)] if program.passes else []


def _borrowed(program: Program) -> list[Element]:
    line = latest(program.nodes)
    said = "“as at” is the line of another program's op; this program's own is before "
    return [tag("p", said, tag("code", line))] if line else []


def _values(graph: torch.fx.Graph) -> Element:
    nodes = [n for n in graph.nodes if n.op == "placeholder" and results(n)]
    columns = ("value", "tensor", "size", "role", "module", "parameters")
    total = readable(sum(map(nbytes, nodes)))
    summary = tag("summary", tag("b", "Values it takes"), tag("small", f"{len(nodes):,} · {total}"))
    return tag("details", summary, _table(columns, map(_value, nodes)), class_="box")


def _value(node: Node) -> list[Element | str]:
    known = meaning(node)
    tensor = ", ".join(map(shape, results(node)))
    names = ", ".join(known.parameters)
    return [node.name, tensor, readable(nbytes(node)), known.role, module_name(known), names]
