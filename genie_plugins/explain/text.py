"""Graphs and explanations as text."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
import torch.fx

from genie_plugins.explain.explanation import Explanation, Program, meaning
from genie_plugins.explain.hints import hints
from genie_plugins.explain.outcomes import sentence
from genie_plugins.explain.sizes import milliseconds, results

if TYPE_CHECKING:
    from genie_core.graph import Geometry, Semantics

Node = torch.fx.Node
_SHOWN = 4  # items of a list


# Graphs --------------------------------------------------------------------------------------


def print_graph(graph: torch.fx.Graph) -> None:
    """Print a graph, one line a node: name, result, call; module, phase, role, line."""
    print("\n".join(_lines(graph)))  # noqa: T201


def _lines(graph: torch.fx.Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op != "output":
            yield _line(node)
            yield from _regions(node, "    ")


def _regions(node: Node, indent: str) -> Iterator[str]:
    """The branches and bodies that a node runs, each under its name."""
    for name, graph in node.meta.get("regions", {}).items():
        yield f"{indent}{short(name)}:"
        for inner in graph.nodes:
            if "op" in inner.meta:
                yield f"{indent}  {_line(inner)}"
                yield from _regions(inner, f"{indent}    ")


def _line(node: Node) -> str:
    known = meaning(node)
    facts = (module_name(known), known.module_type, known.phase, known.role, place(known.origin))
    said = " · ".join(fact for fact in (*facts, *extra(known)) if fact)
    return f"{call(node)}  # {said}" if said else call(node)


def call(node: Node) -> str:
    """A node's name, result and call, as in ``neg: float32[2] = aten.neg(v0)``."""
    result = ", ".join(shape(geometry) for geometry in results(node))
    left = f"{node.name}: {result}" if result else node.name
    if node.op == "placeholder":
        return left
    values = [_value(arg) for arg in node.args]
    values += [f"{key}={_value(arg)}" for key, arg in node.kwargs.items()]
    return f"{left} = {op_name(node)}({', '.join(values)})"


def op_name(node: Node) -> str:
    """What a node calls: an operator's overload as in ``aten.add.Tensor``."""
    name = node.meta.get("op") or getattr(node.target, "__name__", node.target)
    return str(name).replace("::", ".")


def shape(geometry: Geometry) -> str:
    """As in ``float32[2, 64]``."""
    return f"{dtype_name(geometry.dtype)}[{', '.join(_value(n) for n in geometry.size)}]"


def dtype_name(dtype: torch.dtype) -> str:
    """As in ``float32``."""
    return str(dtype).removeprefix("torch.")


def module_name(known: Semantics) -> str:
    """Qualified name of a node's module, that of the outermost being its type."""
    return "" if known.module is None else known.module or known.root


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        shown = [_value(item) for item in value[:_SHOWN]]
        more = [f"… {len(value)} in all"] if len(value) > _SHOWN else []
        return f"[{', '.join(shown + more)}]"
    if isinstance(value, str):
        return short(value)
    return value.name if isinstance(value, Node) else str(value)


def short(name: str) -> str:
    """The beginning of a region's name, which is a hash; anything else as it is."""
    return name[:8] if len(name) == 32 else name


def extra(known: Semantics) -> Iterator[str]:
    """Patterns, modality, and the user's annotations."""
    yield from known.patterns
    if known.modality:
        yield known.modality
    for note in known.annotations:
        values = ", ".join(f"{key}={value}" for key, value in note.values)
        yield f"@{note.name}({values})" if values else f"@{note.name}"


def place(origin: str) -> str:
    """An origin with its file's name alone; of one that is borrowed, what it is like."""
    like, origin = ("as at ", origin[6:]) if origin.startswith("as at ") else ("", origin)
    path, separator, rest = origin.partition(", before ")[0].rpartition(":")
    return f"{like}{os.path.basename(path)}{separator}{rest}"


def latest(nodes: Iterable[Node]) -> str:
    """Before which line of the user those of the ops were recorded whose origin is borrowed."""
    origins = (meaning(node).origin for node in nodes)
    return next((o.partition(", before ")[2] for o in origins if o.startswith("as at ")), "")


# Explanations --------------------------------------------------------------------------------


def render(explanation: Explanation) -> str:
    """Programs, flushes, then each program's graph by module."""
    parts = [_summary(explanation.programs), _flushes(explanation.flushes)]
    if explanation.restrided:
        parts.append(f"strides were not those inferred, of {counts(explanation.restrided)}")
    parts += [_program(program) for program in explanation.programs]
    return "\n\n".join(parts)


def _summary(programs: list[Program]) -> str:
    rows = [("program", "ops", "runs", "sent", "waited", "flushed by", "phases")]
    for program in programs:
        row = (name_of(program), f"{program.ops:,}", f"{program.runs:,}", f"{program.sent:,} B")
        why = counts(program.reasons), counts(program.count("phase"))
        rows.append((*row, milliseconds(program.waited), *why))
    return "\n".join(_columns(rows))


def _flushes(flushes: Counter[tuple[str, str]]) -> str:
    rows = [("flushes", "reason", "by")]
    rows += [(f"{n:,}", reason, where) for (reason, where), n in flushes.most_common()]
    return "\n".join([*_columns(rows), *(f"  {hint}" for hint in hints(flushes))])


def _columns(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def name_of(program: Program) -> str:
    """As in ``0/3``: a device's index, and the program's number there."""
    return f"{program.device}/{program.number}"


def counts(counter: Counter[Any]) -> str:
    """As in ``read 3, sync 1``."""
    return ", ".join(f"{key or 'unknown'} {count}" for key, count in counter.most_common())


def _program(program: Program) -> str:
    title = f"program {name_of(program)}: {program.ops:,} ops, run {program.runs:,} times"
    if program.graph is None:
        return f"{title}\n  first seen before the explanation began"
    return "\n".join([title, *_facts(program), *_modules(program.nodes), *_grouped(program.nodes)])


def _facts(program: Program) -> Iterator[str]:
    yield f"  roles: {counts(program.count('role'))}"
    if program.patterns:
        yield f"  patterns: {counts(program.patterns)}"
    if program.passes:
        yield f"  rewritten: {sentence(program.passes, program.outcome)}"
    if line := latest(program.nodes):
        yield f"  \"as at\": the line of another program's op; this program's own is before {line}"


def _modules(nodes: list[Node]) -> Iterator[str]:
    counts = Counter((module_name(meaning(node)), meaning(node).module_type) for node in nodes)
    yield "  ops by module:"
    for (name, kind), count in counts.items():
        yield f"    {count:5,}  {name or 'outside of any'}{f'  {kind}' if kind else ''}"


def _grouped(nodes: Iterable[Node]) -> Iterator[str]:
    """The ops in their order, under a heading where module or phase changes."""
    for (name, kind, phase), group in groupby(nodes, _heading):
        yield "  " + " · ".join(filter(None, (name or "outside of any module", kind, phase)))
        for node in group:
            known = meaning(node)
            said = " · ".join(p for p in (known.role, place(known.origin), *extra(known)) if p)
            yield f"    {call(node)}  # {said}"
            yield from _regions(node, "      ")


def _heading(node: Node) -> tuple[str, str, str]:
    known = meaning(node)
    return module_name(known), known.module_type, known.phase
