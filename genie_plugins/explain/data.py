"""Explanations as plain data, for JSON."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import torch.fx

from genie_plugins.explain.explanation import Explanation, Program, meaning
from genie_plugins.explain.sizes import nbytes, results
from genie_plugins.explain.text import dtype_name, module_name, op_name

if TYPE_CHECKING:
    from genie_core.graph import Geometry

Node = torch.fx.Node


def describe(explanation: Explanation) -> dict[str, Any]:
    """An explanation's programs and flushes; sizes that were lifted are names of placeholders."""
    return {
        "flushes": _flushes(explanation.flushes),
        "restrided": dict(explanation.restrided),
        "programs": [_program(program) for program in explanation.programs],
    }


def _flushes(flushes: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"reason": reason, "where": where, "count": count}
        for (reason, where), count in flushes.most_common()
    ]


def _program(program: Program) -> dict[str, Any]:
    graph = program.graph
    return {
        "device": program.device,
        "program": program.number,
        "ops": program.ops,
        "runs": program.runs,
        "bytes_sent": program.sent,
        "waits": program.waits,
        "seconds_waited": program.waited,
        "reasons": dict(program.reasons),
        "flushes": _flushes(program.flushes),
        "phases": dict(program.count("phase")),
        "roles": dict(program.count("role")),
        "patterns": dict(program.patterns),
        "passes": program.passes,
        "rewrite": msgspec.structs.asdict(program.outcome) if program.outcome else None,
        "modules": dict(Counter(module_name(meaning(node)) for node in program.nodes)),
        "nodes": None if graph is None else [_node(n) for n in graph.nodes if n.op != "output"],
    }


def _node(node: Node) -> dict[str, Any]:
    known = attrs.asdict(meaning(node))
    known["annotations"] = [
        {"name": note.name, "values": dict(note.values)} for note in meaning(node).annotations
    ]
    return {
        "name": node.name,
        "op": "" if node.op == "placeholder" else op_name(node),
        "inputs": [source.name for source in node.all_input_nodes],
        "results": [_geometry(geometry) for geometry in results(node)],
        "bytes": nbytes(node),
        "regions": {
            name: [_node(inner) for inner in graph.nodes if "op" in inner.meta]
            for name, graph in node.meta.get("regions", {}).items()
        },
        **known,
    }


def _geometry(geometry: Geometry) -> dict[str, Any]:
    size = [n.name if isinstance(n, Node) else n for n in geometry.size]
    return {"dtype": dtype_name(geometry.dtype), "size": size}
