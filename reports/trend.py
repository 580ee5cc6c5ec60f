"""The trend of each cell: its machine's promoted nights, the runs beside them, and what would be too much."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.baselines import Baseline, device_of, fingerprint, of_machine
from reports.comparison import compare
from reports.facts import CellFacts, RunFacts, facts_of
from reports.history import NEWEST, comparable, median_of, read_runs
from reports.records import Run
from reports.verdicts import Verdict

METRICS = {"quality": "quality", "size": "size_bytes", "memory": "memory_inference_peak_bytes"}
"""What a night has beside its latency, by the name under which it is judged."""


@dataclass(frozen=True)
class Trend:
    """One metric of one cell over the nights."""

    points: dict[str, float]
    """Value by night, oldest first; of latency the speed-up."""
    level: float | None = None
    """The baseline's."""
    limit: float | None = None
    """Beyond it a night is suspect, or worse."""
    said: str = ""
    """The verdict of the present run, and the rule."""


@dataclass(frozen=True)
class Trends:
    """All cells of a run over the nights."""

    now: str
    promoted: set[str]
    cells: dict[str, dict[str, Trend]]

    @property
    def nights(self) -> list[str]:
        """All nights that have a point, oldest first."""
        lines = (trend.points for cell in self.cells.values() for trend in cell.values())
        return sorted({night for points in lines for night in points})


def trends(run: Run, baselines: Path) -> Trends:
    """Return what a run's cells were on the nights of its machine; a single night is no trend.

    A baseline keeps of its nights the latency alone; the rest is there where the runs still lie
    beside this one.

    Raises:
        BaselineError: the baseline is damaged, edited or too new.
    """
    now = facts_of(run)
    baseline, _ = of_machine(baselines, _machine(now.info))
    points: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for name in now.cells:
        _add_baseline(points, name, baseline)
    for night, cells in (*_beside(run.folder, now), (now.name, now.cells)):
        for name in cells.keys() & now.cells.keys():
            for metric, value in _figures(cells[name]).items():
                points[name, metric].setdefault(night, value)
    judged = {(v.cell, v.metric): v for v in compare(baseline, now, partial=True).verdicts}
    found: dict[str, dict[str, Trend]] = defaultdict(dict)
    for (name, metric), values in points.items():
        if len(values) > 1:
            ordered = dict(sorted(values.items()))
            found[name][metric] = _trend(ordered, judged.get((name, metric)))
    promoted = {night.run for nights in baseline.nights.values() for night in nights}
    return Trends(now.name, promoted | {baseline.info.get("run", "")}, dict(found))


def _add_baseline(
    points: dict[tuple[str, str], dict[str, float]], name: str, baseline: Baseline
) -> None:
    nights = baseline.nights.get(name, ())
    for night in nights:
        points[name, "latency"][night.run] = math.exp(float(np.median(night.pairs)))
    if name in baseline.cells:
        newest = nights[-1].run if nights else baseline.info["run"]
        for metric, value in _figures(baseline.cells[name]).items():
            points[name, metric].setdefault(newest, value)


def _beside(folder: Path, now: RunFacts) -> Iterator[tuple[str, dict[str, CellFacts]]]:
    """Return the newest runs beside one: their cells of the same hardware and as many threads."""
    machine = _machine(now.info)
    hardware = {fingerprint(machine, device) for device in set(map(device_of, now.cells))}
    runs, _ = read_runs(folder.parent, NEWEST)
    for run in runs:
        if run.name != now.name:
            yield run.name, comparable(run, now.info.get("threads"), hardware)


def _machine(info: dict[str, Any]) -> dict[str, Any]:
    return info.get("machine", {})


def _figures(facts: CellFacts) -> dict[str, float]:
    found = {m: facts.metrics[name] for m, name in METRICS.items() if name in facts.metrics}
    median = median_of(facts)
    return found if median is None else found | {"latency": math.exp(median)}


def _trend(points: dict[str, float], verdict: Verdict | None) -> Trend:
    if verdict is None or verdict.baseline is None:
        return Trend(points)
    level, limits = verdict.baseline, verdict.limits
    if "first" in limits:
        limit = level * math.exp(-limits["first"])
    elif "margin" in limits:
        limit = level - limits["margin"]
    else:
        limit = level * (1 + limits["tolerance"])
    return Trend(points, level, limit, f"{verdict.verdict}: {verdict.rule}")
