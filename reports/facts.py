"""Facts of a run: per cell what two nights are compared by, small enough to be kept in a repository."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any

import numpy as np

from reports.records import FAILED, NUMBERS, OK, SKIPPED, UNSUPPORTED, Record, Run, newest

LATER = "remeasured"
"""The measure under which a night keeps the pairs that were taken again because a cell was suspect."""
Metric = Callable[[np.ndarray, np.ndarray], float]
"""A score of predicted and true classes, both [n]."""
METRICS = ("quality_metric", *NUMBERS)


@dataclass(frozen=True)
class Answers:
    """What each example of the test split contributes to the quality, in one short text."""

    form: str
    """`bits`: right or wrong; `float16`: what an example contributes to another metric."""
    examples: int
    data: str

    @classmethod
    def of_right(cls, right: np.ndarray) -> Answers:
        """Keep one bit an example. `right`: bool [n]."""
        packed = np.packbits(right.astype(bool)).tobytes()
        return cls("bits", len(right), base64.b64encode(packed).decode())

    @classmethod
    def of_correlation(cls, predicted: np.ndarray, truth: np.ndarray) -> Answers:
        """Keep two bytes an example: the influence of each on Pearson's r, plus r. Both [n].

        Their mean is r, and the spread of the mean is r's (Devlin, Gnanadesikan and Kettenring
        1975), so that two correlations on the same examples are compared as two accuracies are.
        """
        if np.ptp(predicted) == 0 or np.ptp(truth) == 0:
            influence = np.zeros(len(truth))
        else:
            x, y = ((v - v.mean()) / v.std() for v in (predicted, truth))
            r = float((x * y).mean())
            influence = x * y - r / 2 * (x**2 + y**2) + r
        data = base64.b64encode(influence.astype("<f2").tobytes()).decode()
        return cls("float16", len(truth), data)

    @classmethod
    def of_metric(cls, metric: Metric, predicted: np.ndarray, truth: np.ndarray) -> Answers:
        """Keep two bytes an example: the jackknife's pseudo-values of F1, MCC, … Both classes [n].

        Their mean is the metric but for its bias of order 1 / n, and the spread of their mean is
        the metric's (Tukey 1958). Examples of one truth and one answer have the same.
        """
        n, whole = len(truth), metric(predicted, truth)
        values = np.empty(n)
        kinds = np.stack([predicted, truth], axis=1)
        for kind in np.unique(kinds, axis=0):
            same = (kinds == kind).all(axis=1)
            rest = np.arange(n) != same.argmax()
            values[same] = n * whole - (n - 1) * metric(predicted[rest], truth[rest])
        data = base64.b64encode(values.astype("<f2").tobytes()).decode()
        return cls("float16", n, data)

    def values(self) -> np.ndarray:
        """Return float64 [n]; their mean is the quality."""
        raw = base64.b64decode(self.data)
        if self.form == "bits":
            return np.unpackbits(np.frombuffer(raw, np.uint8), count=self.examples).astype(float)
        return np.frombuffer(raw, "<f2").astype(float)

    def to_json(self) -> list[Any]:
        return [self.form, self.examples, self.data]


@dataclass(frozen=True)
class CellFacts:
    """What is known of one cell after one run."""

    status: str
    reason: str | None = None
    artifact_sha256: str | None = None
    threads: int | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    test_sha256: str | None = None
    answers: Answers | None = None
    pairs: tuple[float, ...] = ()
    """Log ratio reference / candidate of each fresh pair: larger is faster."""
    work: tuple[float, ...] = ()
    """Of each pair, log of the reference's seconds x GFLOP/s of the fixed matrix product."""
    later: tuple[float, ...] = ()
    """The pairs that were taken again later in the same night."""
    later_work: tuple[float, ...] = ()

    @cached_property
    def sound(self) -> tuple[float, ...]:
        """The pairs of the rounds that no other work disturbed."""
        return sound(self.pairs, self.work)

    @cached_property
    def sound_later(self) -> tuple[float, ...]:
        """The same of the pairs that were taken again."""
        return sound(self.later, self.later_work)

    @property
    def is_void(self) -> bool:
        """Say whether so many rounds were disturbed that no majority is left."""
        return bool(self.pairs) and 2 * len(self.sound) <= len(self.pairs)

    @property
    def is_later_void(self) -> bool:
        """Say the same of the second look."""
        return bool(self.later) and 2 * len(self.sound_later) <= len(self.later)

    def to_json(self) -> dict[str, Any]:
        data = {name: value for name, value in vars(self).items() if name in self.__annotations__}
        data["answers"] = self.answers and self.answers.to_json()
        return {name: value for name, value in data.items() if value not in (None, (), {})}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> CellFacts:
        """Read what `to_json` wrote; what is no fact raises a TypeError."""
        given = dict(data)
        if "answers" in given:
            given["answers"] = Answers(*given["answers"])
        for name in ("pairs", "work", "later", "later_work"):
            given[name] = tuple(given.get(name, ()))
        return cls(**given)


def sound(pairs: Sequence[float], work: Sequence[float]) -> tuple[float, ...]:
    """Return the pairs of the rounds whose reference stayed near the median of all rounds."""
    if not work or len(work) != len(pairs):
        return tuple(pairs)
    middle = median(work)
    both = zip(pairs, work, strict=True)
    return tuple(pair for pair, its in both if abs(its - middle) <= DISTURBED)


DISTURBED = math.log(1.05)
"""A round whose reference moved by more than 5 % against the fixed matrix product is void."""


@dataclass(frozen=True)
class RunFacts:
    """One run: its description and its cells."""

    info: dict[str, Any]
    cells: dict[str, CellFacts]
    damage: tuple[str, ...] = ()
    """What of the run's files is lost, in words."""

    @property
    def name(self) -> str:
        return self.info["run"]


def facts_of(run: Run) -> RunFacts:
    """Collect a run's facts, every planned cell among them."""
    planned: dict[str, list[str]] = run.info["planned"]
    found: dict[str, dict[str, Record]] = {cell: {} for cell in planned}
    for (cell, measure), record in newest(run.records).items():
        if cell in found:
            found[cell][measure] = record
    cells = {cell: _cell(found[cell], planned[cell]) for cell in planned}
    return RunFacts(run.info, cells, run.damage)


def _cell(records: dict[str, Record], planned: list[str]) -> CellFacts:
    bad = next((r for r in records.values() if r.status != OK), None)
    unmeasured = [measure for measure in planned if measure not in records]
    hashes = {r.artifact_sha256 for r in records.values() if r.artifact_sha256}
    if bad:
        status, reason = bad.status, f"{bad.measure}: {bad.reason}"
        if bad.status in (UNSUPPORTED, SKIPPED):
            reason = bad.reason or ""
    elif unmeasured:
        status, reason = FAILED, f"not measured: {', '.join(unmeasured)}"
    elif len(hashes) > 1:
        status, reason = FAILED, f"measures of {len(hashes)} different artifacts"
    else:
        status, reason = OK, ""
    known: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    for record in records.values():
        known |= {name: metric.value for name, metric in record.metrics.items()}
        facts |= record.facts
    answers = facts.get("test_answers")
    return CellFacts(
        status=status,
        reason=reason or None,
        artifact_sha256=min(hashes, default=None),
        threads=facts.get("threads"),
        metrics={name: known[name] for name in METRICS if known.get(name) is not None},
        test_sha256=facts.get("test_sha256"),
        answers=Answers(*answers) if answers else None,
        pairs=tuple(facts.get("log_speedups", ())),
        work=tuple(facts.get("log_reference_work", ())),
        later=tuple(facts.get("later_log_speedups", ())),
        later_work=tuple(facts.get("later_log_reference_work", ())),
    )
