"""A program as a drawing: phases side by side, in each the modules as nested boxes of ops."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from xml.etree.ElementTree import Element

import torch.fx

from genie_plugins.explain.boxes import Box, phases
from genie_plugins.explain.explanation import Program, family, meaning
from genie_plugins.explain.flow import sources
from genie_plugins.explain.markup import tag
from genie_plugins.explain.sizes import nbytes, readable, results
from genie_plugins.explain.text import call, extra, module_name, op_name, place, shape

Node = torch.fx.Node
PHASES = ("forward", "backward", "optimizer", "eval", "prefill", "decode")
"""Those with a colour of their own."""
_OPEN = 2  # depth to which boxes are open at first


def draw(program: Program) -> Element:
    """The drawing of a program's graph; `page.js` adds its edges."""
    used = sources(program.nodes)
    lanes = [_lane(box, used) for box in phases(program.nodes)]
    return tag("div", *lanes, class_="drawing")


def color_of(phase: str) -> str:
    """The class that colours a phase."""
    return f"phase-{phase if phase in PHASES else 'other'}"


def badge(name: str, text: str = "") -> Element:
    """A pattern's label, in its family's colour."""
    return tag("span", text or name, class_="pattern", style=_hue(name))


def _hue(pattern: str) -> str:
    return f"--hue: {zlib.crc32(family(pattern).encode()) * 137 % 360}"


def _lane(phase: Box, used: list[list[int]]) -> Element:
    head = tag("h4", phase.name, tag("small", _amount(phase)))
    return tag("section", head, *_content(phase, used, 0), class_=f"lane {color_of(phase.name)}")


def _content(box: Box, used: list[list[int]], depth: int) -> list[Element]:
    return [
        _box(item, used, depth) if isinstance(item, Box) else _op(key, item, used)
        for key, item in box.content.items()
    ]


def _box(box: Box, used: list[list[int]], depth: int) -> Element:
    name = box.name
    while depth and not box.type and len(box.content) == 1 and box.boxes:
        box = box.boxes[0]
        name = f"{name}.{box.name}"
    summary = tag(
        "summary",
        tag("b", name),
        tag("i", box.type) if box.type not in ("", name) else None,
        tag("small", _amount(box)),
        *_families(box.nodes),
    )
    opened = {"open": ""} if depth < _OPEN else {}
    return tag("details", summary, *_content(box, used, depth + 1), class_="box", **opened)


def _amount(box: Box) -> str:
    nodes = list(box.nodes)
    return f"{len(nodes):,} op{'s' * (len(nodes) != 1)} · {readable(sum(map(nbytes, nodes)))}"


def _families(nodes: Iterable[Node]) -> list[Element]:
    instances = {name for node in nodes for name in meaning(node).patterns}
    found = Counter(map(family, sorted(instances)))
    return [badge(name, f"{name} ×{count}") for name, count in found.items()]


def _op(index: str | int, node: Node, used: list[list[int]]) -> Element:
    known = meaning(node)
    found = known.patterns
    described = "\n".join((call(node), known.where, " · ".join(extra(known)))).strip()
    return tag(
        "div",
        tag("span", op_name(node), class_="name"),
        tag("span", _shapes(node), class_="shape"),
        tag("span", readable(nbytes(node)) if results(node) else "in place", class_="size"),
        tag("span", known.role.replace("_", " "), class_=f"role role-{known.role or 'unknown'}"),
        *map(badge, found),
        tag("span", place(known.origin), class_="origin"),
        class_=f"op {color_of(known.phase)}{' matched' * bool(found)}",
        title=described,
        data_op=str(index),
        data_in=" ".join(map(str, used[int(index)])),
        data_words=" ".join((described, known.root, module_name(known), *found)).lower(),
        **({"style": _hue(found[0])} if found else {}),
    )


def _shapes(node: Node) -> str:
    first, *more = [shape(geometry) for geometry in results(node)] or [""]
    return f"{first} +{len(more)}" if more else first
