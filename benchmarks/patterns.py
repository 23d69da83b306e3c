"""What of a zoo's patterns is found, and what that costs: precision, recall, phases, µs a node.

The truth is the module that each op came from, see `zoo`; module names are hidden from the
matchers. A trace is not cut for its size here, so that no pattern is cut in two; how much is found
of what is cut is a figure of its own. All times are the CPU's of the thread that records.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any
from unittest import mock

import attrs
import torch
import torch.fx

from ._measure import gpt2
from .zoo.hidden import hidden
from .zoo.judge import Score, found_in, judge
from .zoo.labels import label, phases
from .zoo.recording import record

if TYPE_CHECKING:
    from .zoo.entry import Entry, Run

CUT = ("gpt2", "llama eager", "bert", "resnet")
GPT2 = {"n_layer": 12, "n_embd": 64, "n_head": 4, "vocab_size": 1000}

Found = list[tuple[str, ...]]


@attrs.define
class Result:
    """What came of one run of one model, or of all."""

    scores: dict[str, Score] = attrs.Factory(lambda: defaultdict(Score))
    ops: int = 0
    nodes: int = 0
    seconds: Counter[str] = attrs.Factory(Counter)
    """By plugin, what annotation took."""
    right_phases: int = 0
    phases: int = 0
    patterns: int = 0
    """Instances found, of whatever family."""
    failures: list[str] = attrs.Factory(list)
    """Errors of the matchers, which then found nothing."""
    told_by_names: int = 0
    """Ops of which something else is found when names are to be seen."""

    def add(self, other: Result) -> None:
        """Count what `other` counted too."""
        for family, score in other.scores.items():
            self.scores[family].add(score)
        for field in attrs.fields(Result)[1:]:
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def run(device: str = "remote_accelerator") -> dict[str, Any]:
    """Figures with their bars as `rows`, then all that they are made of."""
    import genie_core

    from .zoo.entry import quiet
    from .zoo.zoo import ENTRIES

    torch.set_num_threads(1)
    place = genie_core.connect("inproc://") if device == "remote_accelerator" else device
    clock = _Clock()
    with clock, quiet():
        once = _prepare(clock, torch.device(place))
        alone = _cost_of_gpt2(clock, torch.device(place))
        report = _Report(once, alone)
        for entry in ENTRIES:
            for each in entry.runs:
                report.add(entry, each, clock, torch.device(place))
            report.show(entry)
        report.cut = _cut(clock, torch.device(place))
    return report.as_dict()


class _Clock:
    """The time that each plugin's `genie_annotate` takes."""

    def __init__(self) -> None:
        self.by_plugin: Counter[str] = Counter()
        self._undo = contextlib.ExitStack()

    @property
    def seconds(self) -> float:
        """What all of them took."""
        return self.by_plugin.total()

    def __enter__(self) -> None:
        from genie_core.plugins import manager

        for hook in manager().hook.genie_annotate.get_hookimpls():
            timed = self._timed(hook.plugin_name, hook.function)
            self._undo.enter_context(mock.patch.object(hook, "function", timed))

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _timed(self, plugin: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*args)
            finally:
                self.by_plugin[plugin] += time.thread_time() - start

        return timed


def _prepare(clock: _Clock, device: torch.device) -> float:
    """Have the plugins do what they do once, and return how long it took."""
    model = torch.nn.Linear(2, 2)
    before = clock.seconds
    record(model.to(device), lambda _: model(torch.ones(1, 2, device=device)), device)
    return clock.seconds - before


def _cost_of_gpt2(clock: _Clock, device: torch.device) -> float:
    """Seconds a node that a first training step's graphs take; calls are not noted."""
    import genie_core

    model = gpt2(**GPT2).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.arange(32, device=device).unsqueeze(0)
    genie_core.synchronize(device)
    before = clock.seconds
    with genie_core.explain() as explanation:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        genie_core.synchronize(device)
    graphs = [program.graph for program in explanation.programs if program.graph is not None]
    return (clock.seconds - before) / sum(len(graph.nodes) for graph in graphs)


# One run -------------------------------------------------------------------------------------


def _measure(
    entry: Entry, each: Run, clock: _Clock, device: torch.device, *, whole: bool = True
) -> Result:
    from .zoo.entry import prepare

    gc.collect()  # the plugins look at all models that live
    model, work = prepare(entry, each, device)
    before = clock.by_plugin.copy()
    graphs = record(model, work, device, whole=whole)
    result = Result(seconds=clock.by_plugin - before)
    for graph in graphs:
        result.add(_judge(graph))
    return result


def _judge(graph: torch.fx.Graph) -> Result:
    nodes = [node for node in graph.nodes if "op" in node.meta]
    told = _patterns(nodes)
    result = Result(ops=len(nodes), nodes=len(graph.nodes))
    with hidden(graph):
        try:
            _match(graph)
        except Exception as error:
            result.failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
        found = _patterns(nodes)
    result.scores.update(judge(label(nodes), found_in(found)))
    result.patterns = len({name for names in found for name in names})
    result.told_by_names = sum(a != b for a, b in zip(told, found, strict=True))
    for node in nodes:
        if true := phases(node):
            result.phases += 1
            result.right_phases += node.meta["genie"].phase in true
    return result


def _match(graph: torch.fx.Graph) -> None:
    from genie_plugins.patterns import genie_annotate

    genie_annotate(graph)


def _patterns(nodes: list[torch.fx.Node]) -> Found:
    return [getattr(node.meta["genie"], "patterns", ()) for node in nodes]


def _cut(clock: _Clock, device: torch.device) -> Result:
    """Of some models, what is found in programs as they are sent: cut for their size."""
    from .zoo.zoo import ENTRIES

    total = Result()
    for entry in ENTRIES:
        if entry.name in CUT:
            total.add(_measure(entry, entry.runs[0], clock, device, whole=False))
    return total


# All -----------------------------------------------------------------------------------------


class _Report:
    """What was found in the zoo so far."""

    def __init__(self, once: float, alone: float) -> None:
        self.once, self.alone = once, alone
        self.cut = Result()
        self._total, self._negatives = Result(), Result()
        self._runs: list[dict[str, Any]] = []
        self._skipped: list[dict[str, Any]] = []
        self._models: Counter[str] = Counter()

    def add(self, entry: Entry, each: Run, clock: _Clock, device: torch.device) -> None:
        """Do one run of a model; one that cannot be done is noted, with the reason."""
        try:
            result = _measure(entry, each, clock, device)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self._skipped.append({"model": entry.name, "run": str(each), "reason": reason})
            return
        (self._negatives if entry.negative else self._total).add(result)
        self._models[entry.name] += result.patterns
        self._runs.append(_row(entry, each, result))

    def show(self, entry: Entry) -> None:
        """Say on the standard error that a model is done."""
        rows = [row for row in self._runs if row["model"] == entry.name]
        left = [row for row in self._skipped if row["model"] == entry.name]
        worst = min((row["macro_f1"] for row in rows if row["macro_f1"] is not None), default=None)
        line = f"{entry.name}: {len(rows)} runs, lowest macro F1 {worst}"
        skipped = "".join(f", skipped {row['run']} ({row['reason']})" for row in left)
        print(line + skipped, file=sys.stderr, flush=True)

    def as_dict(self) -> dict[str, Any]:
        """Everything, in what JSON has."""
        scores = {name: self._total.scores[name] for name in sorted(self._total.scores)}
        there = {name: score for name, score in scores.items() if score.instances}
        found = [name for name, score in there.items() if score.f1 >= 0.9]
        named = {row["model"] for row in self._runs if not row["model"].startswith("negative")}
        total = self._total
        facts = {
            "patterns": len(there),
            "patterns_found": len(found),
            "models": len(named),
            "models_with_patterns": sum(self._models[name] > 0 for name in named),
            "macro_f1": statistics.mean(score.f1 for score in there.values()),
            "lowest_f1": min(score.f1 for score in there.values()),
            "false_positives_on_negatives": self._negatives.patterns,
            "phase_accuracy": total.right_phases / total.phases,
            "us_per_node": total.seconds.total() / total.nodes * 1e6,
            **{
                f"us_per_node_for_{plugin}": seconds / total.nodes * 1e6
                for plugin, seconds in sorted(total.seconds.items())
            },
            "us_per_node_of_gpt2": self.alone * 1e6,
            "failures": len(total.failures) + len(self._negatives.failures),
            "told_by_names": total.told_by_names,
            "ms_once": self.once * 1e3,
            "recall_where_cut": _recall(self.cut),
        }
        families = {name: _figures(score) for name, score in scores.items()}
        return {
            "rows": [_figure(key, value) for key, value in facts.items()],
            **facts,
            "families": families,
            "runs": self._runs,
            "skipped": self._skipped,
        }


BARS: dict[str, tuple[float, bool]] = {
    "patterns_found": (25, True),
    "models_with_patterns": (20, True),
    "macro_f1": (0.97, True),
    "lowest_f1": (0.9, True),
    "phase_accuracy": (0.99, True),
    "false_positives_on_negatives": (0, False),
    "failures": (0, False),
    "told_by_names": (0, False),
    "us_per_node": (25.0, False),
    "us_per_node_of_gpt2": (25.0, False),
}
"""The bars, and whether a figure has to be at least that, or at most."""


def _figure(key: str, value: float) -> dict[str, Any]:
    bar, least = BARS.get(key, (None, True))
    met = bar is None or (value >= bar if least else value <= bar)
    return {"figure": key.replace("_", " "), "value": value, "bar": bar, "met": met}


def _figures(score: Score) -> dict[str, Any]:
    return {
        "precision": score.precision,
        "recall": score.recall,
        "f1": score.f1,
        "instances": score.instances,
        "instance_recall": score.instance_recall,
        "right": score.right,
        "wrong": score.wrong,
        "missed": score.missed,
    }


def _row(entry: Entry, each: Run, result: Result) -> dict[str, Any]:
    there = {name: score for name, score in result.scores.items() if score.instances}
    low = [f"{name} {score.f1:.2f}" for name, score in result.scores.items() if score.f1 < 0.97]
    return {
        "model": entry.name,
        "run": str(each),
        "ops": result.ops,
        "families": len(there),
        "macro_f1": statistics.mean(s.f1 for s in there.values()) if there else None,
        "phase_accuracy": result.right_phases / result.phases if result.phases else None,
        "us_per_node": result.seconds.total() / result.nodes * 1e6 if result.nodes else None,
        "below": ", ".join(sorted(low) + result.failures),
    }


def _recall(result: Result) -> float:
    right = sum(score.right for score in result.scores.values())
    missed = sum(score.missed for score in result.scores.values())
    return right / (right + missed) if right + missed else 1.0
