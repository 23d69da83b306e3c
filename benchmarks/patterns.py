"""What of a zoo's patterns is found, and what that costs: precision, recall, phases, µs a node.

The truth is the module that each op came from, see `zoo`; module names are hidden from the
matchers. A trace is not cut for its size here, so that no pattern is cut in two; how much is found
of what is cut is a figure of its own. All times are the CPU's of the thread that records.

The matchers were tuned to what they missed in the zoo. Models that they were not tuned to have
figures of their own, `held_out_…`: what to expect of a model that nobody has tried.
"""

from __future__ import annotations

import contextlib
import gc
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
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
    from .zoo.truth import Truth

Label = Callable[[Sequence["torch.fx.Node"]], "Truth"]
CUT = ("gpt2", "llama eager", "bert", "resnet")
GPT2 = {"n_layer": 12, "n_embd": 64, "n_head": 4, "vocab_size": 1000}


@attrs.define
class Result:
    """What came of one run of one model, or of all."""

    scores: dict[str, Score] = attrs.Factory(lambda: defaultdict(Score))
    seconds: dict[str, float] = attrs.Factory(lambda: defaultdict(float))
    """By plugin, what annotation took."""
    ops: int = 0
    nodes: int = 0
    right_phases: int = 0
    phases: int = 0
    patterns: int = 0
    """Instances found, of whatever family."""
    failures: list[str] = attrs.Factory(list)
    """Errors of the matchers, which then found nothing."""

    def add(self, other: Result) -> None:
        """Count what `other` counted too."""
        for family, score in other.scores.items():
            self.scores[family].add(score)
        for plugin, seconds in other.seconds.items():
            self.seconds[plugin] += seconds
        for field in attrs.fields(Result)[2:]:
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def run(device: str = "remote_accelerator") -> dict[str, Any]:
    """Figures with their bars as `rows`, then all that they are made of."""
    import genie_core

    from .zoo import zoo
    from .zoo.entry import quiet
    from .zoo.unseen import entries

    torch.set_num_threads(1)
    place = genie_core.connect("inproc://") if device == "remote_accelerator" else device
    watch = _Watch()
    with watch, quiet():
        once = _prepare(watch, torch.device(place))
        alone = _cost_of_gpt2(watch, torch.device(place))
        tuned = _tally(zoo.ENTRIES, watch, torch.device(place))
        cut = _cut(watch, torch.device(place))
        unseen = _tally(entries.ENTRIES, watch, torch.device(place), entries.label)
    costs = {**tuned.costs(), "us_per_node_of_gpt2": alone * 1e6, "ms_once": once * 1e3}
    return _report(tuned, unseen, {**costs, "recall_where_cut": _recall(cut)})


class _Watch:
    """The time that each plugin's `genie_annotate` takes; that of `patterns` sees no names.

    An error of it is noted: then it found nothing.
    """

    def __init__(self) -> None:
        self.by_plugin: dict[str, float] = defaultdict(float)
        self.failures: list[str] = []
        self._undo = contextlib.ExitStack()

    @property
    def seconds(self) -> float:
        """What all of them took."""
        return sum(self.by_plugin.values())

    def __enter__(self) -> None:
        from genie_core.plugins import manager

        for hook in manager().hook.genie_annotate.get_hookimpls():
            timed = self._timed(hook.plugin_name, hook.function)
            used = self._blinded(timed) if hook.plugin_name == "patterns" else timed
            self._undo.enter_context(mock.patch.object(hook, "function", used))

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

    def _blinded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def blinded(graph: torch.fx.Graph) -> None:
            nodes = [node for node in graph.nodes if "op" in node.meta]
            with hidden(graph):
                try:
                    function(graph)
                except Exception as error:
                    self.failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
                found = [node.meta["genie"].patterns for node in nodes]
            for node, names in zip(nodes, found, strict=True):
                node.meta["genie"] = attrs.evolve(node.meta["genie"], patterns=names)

        return blinded


def _prepare(watch: _Watch, device: torch.device) -> float:
    """Have the plugins do what they do once, and return how long it took."""
    model = torch.nn.Linear(2, 2)
    before = watch.seconds
    record(model.to(device), lambda _: model(torch.ones(1, 2, device=device)), device)
    return watch.seconds - before


def _cost_of_gpt2(watch: _Watch, device: torch.device) -> float:
    """Seconds a node that a first training step's graphs take; calls are not noted."""
    import genie_core

    model = gpt2(**GPT2).train().to(device)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.arange(32, device=device).unsqueeze(0)
    genie_core.synchronize(device)
    before = watch.seconds
    with genie_core.explain() as explanation:
        model(input_ids=tokens, labels=tokens).loss.backward()
        optimizer.step()
        genie_core.synchronize(device)
    graphs = [program.graph for program in explanation.programs if program.graph is not None]
    return (watch.seconds - before) / sum(len(graph.nodes) for graph in graphs)


# One run -------------------------------------------------------------------------------------


def _measure(
    entry: Entry,
    each: Run,
    watch: _Watch,
    device: torch.device,
    truth: Label = label,
    *,
    whole: bool = True,
) -> Result:
    from .zoo.entry import prepare

    gc.collect()  # the plugins look at all models that live
    model, work = prepare(entry, each, device)
    result = Result()
    watch.by_plugin, watch.failures = result.seconds, result.failures
    graphs = record(model, work, device, whole=whole)
    for graph in graphs:
        result.add(_judge(graph, truth))
    return result


def _judge(graph: torch.fx.Graph, truth: Label) -> Result:
    nodes = [node for node in graph.nodes if "op" in node.meta]
    found = [node.meta["genie"].patterns for node in nodes]
    result = Result(ops=len(nodes), nodes=len(graph.nodes))
    result.scores.update(judge(truth(nodes), found_in(found)))
    result.patterns = len({name for names in found for name in names})
    for node in nodes:
        if true := phases(node):
            result.phases += 1
            result.right_phases += node.meta["genie"].phase in true
    return result


def _cut(watch: _Watch, device: torch.device) -> Result:
    """Of some models, what is found in programs as they are sent: cut for their size."""
    from .zoo.zoo import ENTRIES

    total = Result()
    for entry in ENTRIES:
        if entry.name in CUT:
            total.add(_measure(entry, entry.runs[0], watch, device, whole=False))
    return total


# All -----------------------------------------------------------------------------------------


class _Tally:
    """What was found in some entries so far."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.skipped: list[dict[str, Any]] = []
        self._total, self._negatives = Result(), Result()
        self._models: Counter[str] = Counter()

    def add(
        self, entry: Entry, each: Run, watch: _Watch, device: torch.device, truth: Label
    ) -> None:
        """Do one run of a model; one that cannot be done is noted, with the reason."""
        try:
            result = _measure(entry, each, watch, device, truth)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            self.skipped.append({"model": entry.name, "run": str(each), "reason": reason})
            return
        (self._negatives if entry.negative else self._total).add(result)
        self._models[entry.name] += result.patterns
        self.runs.append(_row(entry, each, result))

    def show(self, entry: Entry) -> None:
        """Say on the standard error that a model is done."""
        rows = [row for row in self.runs if row["model"] == entry.name]
        left = [row for row in self.skipped if row["model"] == entry.name]
        worst = min((row["macro_f1"] for row in rows if row["macro_f1"] is not None), default=None)
        line = f"{entry.name}: {len(rows)} runs, lowest macro F1 {worst}"
        skipped = "".join(f", skipped {row['run']} ({row['reason']})" for row in left)
        print(line + skipped, file=sys.stderr, flush=True)

    def facts(self) -> dict[str, Any]:
        """How much of what there is was found, and how much else."""
        total = self._total
        there = [score for score in total.scores.values() if score.instances]
        named = {row["model"] for row in self.runs if not row["model"].startswith("negative")}
        return {
            "patterns": len(there),
            "patterns_found": sum(score.f1 >= 0.9 for score in there),
            "models": len(named),
            "models_with_patterns": sum(self._models[name] > 0 for name in named),
            "macro_f1": statistics.mean(score.f1 for score in there),
            "lowest_f1": min(score.f1 for score in there),
            "false_positives": sum(score.wrong for score in total.scores.values()),
            "false_positives_on_negatives": self._negatives.patterns,
            "phase_accuracy": total.right_phases / total.phases,
            "failures": len(total.failures) + len(self._negatives.failures),
        }

    def costs(self) -> dict[str, float]:
        """What annotation takes a node, in all and by plugin."""
        total = self._total
        each = {f"us_per_node_for_{plugin}": cost for plugin, cost in sorted(total.seconds.items())}
        whole = {"us_per_node": sum(total.seconds.values()), **each}
        return {name: seconds / total.nodes * 1e6 for name, seconds in whole.items()}

    def families(self) -> dict[str, Any]:
        """The figures of each family that there is, or that was found."""
        return {name: _figures(score) for name, score in sorted(self._total.scores.items())}


def _tally(
    entries: tuple[Entry, ...], watch: _Watch, device: torch.device, truth: Label = label
) -> _Tally:
    tally = _Tally()
    for entry in entries:
        for each in entry.runs:
            tally.add(entry, each, watch, device, truth)
        tally.show(entry)
    return tally


def _report(tuned: _Tally, unseen: _Tally, costs: dict[str, float]) -> dict[str, Any]:
    """Everything, in what JSON has."""
    unknown = unseen.facts() if unseen.runs else {}
    held_out = {f"held_out_{key}": value for key, value in unknown.items()}
    facts = {**tuned.facts(), **costs, **held_out}
    return {
        "rows": [_figure(key, value) for key, value in facts.items()],
        **facts,
        "families": tuned.families(),
        "runs": tuned.runs,
        "skipped": tuned.skipped,
        "held_out_families": unseen.families(),
        "held_out_runs": unseen.runs,
        "held_out_skipped": unseen.skipped,
    }


BARS: dict[str, tuple[float, bool]] = {
    "patterns_found": (25, True),
    "models_with_patterns": (20, True),
    "macro_f1": (0.97, True),
    "lowest_f1": (0.9, True),
    "phase_accuracy": (0.99, True),
    "false_positives_on_negatives": (0, False),
    "failures": (0, False),
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
        "us_per_node": sum(result.seconds.values()) / result.nodes * 1e6 if result.nodes else None,
        "below": ", ".join(sorted(low) + result.failures),
    }


def _recall(result: Result) -> float:
    right = sum(score.right for score in result.scores.values())
    missed = sum(score.missed for score in result.scores.values())
    return right / (right + missed) if right + missed else 1.0
