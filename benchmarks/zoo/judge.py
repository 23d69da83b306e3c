"""How what was found compares with the truth, family by family."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import attrs

from .truth import Instance, Ops, Truth

COMPOSED = frozenset(
    ("transformer_block", "decoder", "encoder_decoder", "residual_block", "cell_loop")
)
"""Families that are judged by instance: one is found if most of it is."""

PLACED = frozenset(("alibi", "sliding_window"))
"""Families without a core that all would agree on: found where any op of an instance is."""

OVERLAP = 0.8
"""The least share of ops that a composed instance has in common with what was found of it."""


@attrs.define
class Score:
    """Counts of a family: ops, or instances of one that is judged by instance."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    instances: int = 0
    whole: int = 0
    """Instances that one instance found covers, with nothing that is not of it."""

    def add(self, other: Score) -> None:
        """Count what `other` counted too."""
        for name in attrs.fields_dict(Score):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def precision(self) -> float:
        """Share of what was found that is right."""
        found = self.right + self.wrong
        return self.right / found if found else 1.0 if not self.missed else 0.0

    @property
    def recall(self) -> float:
        """Share of what there is that was found."""
        there = self.right + self.missed
        return self.right / there if there else 1.0

    @property
    def f1(self) -> float:
        """The harmonic mean of the two."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0

    @property
    def instance_recall(self) -> float:
        """Share of the instances that were found whole."""
        return self.whole / self.instances if self.instances else 1.0


Found = Mapping[str, Iterable[Ops]]
"""By family, the ops of each instance that was found."""


def found_in(patterns: Iterable[tuple[str, ...]]) -> dict[str, list[Ops]]:
    """The instances that the ops' `Semantics.patterns`, given in their order, name."""
    ops: dict[str, set[int]] = defaultdict(set)
    for index, names in enumerate(patterns):
        for name in names:
            ops[name].add(index)
    found: dict[str, list[Ops]] = defaultdict(list)
    for name, members in ops.items():
        found[name.partition("#")[0]].append(frozenset(members))
    return dict(found)


def judge(truth: Truth, found: Found) -> dict[str, Score]:
    """The score of each family that there is, or that was found."""
    families = {instance.family for instance in truth.instances} | set(found)
    return {family: _judge(truth, family, list(found.get(family, ()))) for family in families}


def _judge(truth: Truth, family: str, found: list[Ops]) -> Score:
    there = truth.of(family)
    cores = frozenset[int]().union(*(instance.core for instance in there))
    open_ = truth.undecided(family) - cores
    if family in PLACED:
        return _placed(there, found, truth.undecided(family) | cores)
    decided = [ops - open_ for ops in found]
    decided = [ops for ops in decided if ops]
    if family in COMPOSED:
        return _composed(there, decided)
    hit = frozenset[int]().union(*decided)
    whole = sum(any(i.core <= ops <= cores for ops in decided) for i in there)
    counts = (len(hit & cores), len(hit - cores), len(cores - hit))
    return Score(*counts, instances=len(there), whole=whole)


def _composed(there: list[Instance], found: list[Ops]) -> Score:
    """An instance found counts for one instance, and an instance is found once."""
    left = list(there)
    right = 0
    for ops in found:
        match = next((i for i in left if _overlap(i.core, ops) >= OVERLAP), None)
        if match is not None:
            left.remove(match)
            right += 1
    return Score(right, len(found) - right, len(left), instances=len(there), whole=right)


def _overlap(a: Ops, b: Ops) -> float:
    return len(a & b) / len(a | b)


def _placed(there: list[Instance], found: list[Ops], allowed: Ops) -> Score:
    inside = [ops for ops in found if ops & allowed]
    wrong = sum(not ops <= allowed for ops in found)
    right = len(there) if inside else 0
    return Score(right, wrong, len(there) - right, instances=len(there), whole=right)
