"""The nights of a machine: what was promoted, what ran since, and whether a cell drifts.

A slow-down that is too small for one night adds up: the mean over the last nights, taken against
the baseline's own nights, has a smaller error than any of them.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reports.baselines import (
    FILE,
    Baseline,
    device_of,
    fingerprint,
    of_machine,
    read,
    some,
)
from reports.comparison import compare
from reports.facts import CellFacts, RunFacts, facts_of
from reports.records import OK as MEASURED
from reports.records import RUN, RecordError, read_run
from reports.verdicts import IMPROVED, INSUFFICIENT, NOT_GREEN, OK

DRIFT_NIGHTS = 8
"""The newest nights that are taken together."""
NEWEST = 30
"""Runs that a night looks through; `leanboard history` reads all."""
DRIFT_LEVEL = 1e-4
"""Of Student's test, one-sided, for one cell; the spread between nights is the machine's, and equal."""


@dataclass(frozen=True)
class Drift:
    """A cell's last nights against its baseline."""

    slower: float
    """Relative; positive is slower."""
    p: float
    nights: int

    @property
    def is_real(self) -> bool:
        return self.p < DRIFT_LEVEL


def drift(promoted: list[float], later: list[float]) -> Drift | None:
    """Compare the newest nights' medians (log ratios, larger is faster) with the promoted ones'.

    None where there are too few of either for a spread.
    """
    from scipy.stats import ttest_ind

    newest = later[-DRIFT_NIGHTS:]
    if len(promoted) < 2 or len(newest) < 2:
        return None
    test = ttest_ind(promoted, newest, alternative="greater")
    slower = math.expm1(float(np.mean(promoted) - np.mean(newest)))
    return Drift(slower, float(test.pvalue), len(newest))


def history(baselines: Path, output: Path) -> str:
    """List the promoted nights of each machine, the runs since, and the cells that drift.

    Raises:
        BaselineError: there is none, or one is damaged.
    """
    machines = some(baselines)
    runs, left_out = read_runs(output)
    parts = []
    for name in machines:
        baseline = read(baselines / name / FILE)
        later = list(_later_nights({name}, baseline, runs))
        drifts = [f"  drifts: {line}" for line in _drifts(baseline, later)]
        parts += [name, *_nights(baseline), *(f"  {night}" for night in later), *drifts, ""]
    parts += left_out if left_out or runs else [f"no runs in {output}"]
    return "\n".join(parts).rstrip()


def drifting(baselines: Path, machine: dict[str, Any], output: Path) -> list[str]:
    """Say of a machine's newest runs which of their cells drift.

    Raises:
        BaselineError: a baseline is damaged.
    """
    baseline, _ = of_machine(baselines, machine)
    hardware = {fingerprint(machine, device) for device in map(device_of, baseline.cells)}
    runs, _ = read_runs(output, NEWEST)
    return _drifts(baseline, list(_later_nights(hardware, baseline, runs)))


def read_runs(output: Path, newest: int | None = None) -> tuple[list[RunFacts], list[str]]:
    """Read the newest runs in a folder, oldest first, and say what of them is damaged."""
    runs, left_out = [], []
    folders = sorted(path.parent for path in output.glob(f"*/{RUN}"))
    for folder in [folder for folder in folders if not folder.is_symlink()][-(newest or 0) :]:
        try:
            with warnings.catch_warnings(action="ignore"):
                run = facts_of(read_run(folder))
            runs.append(RunFacts({"run": folder.name} | run.info, run.cells))
            left_out += [f"left out: {part}" for part in run.damage]
        except (RecordError, OSError) as error:
            left_out.append(f"left out: {error}")
    return sorted(runs, key=lambda run: run.name), left_out


def _nights(baseline: Baseline) -> list[str]:
    timed: dict[str, set[str]] = {}
    for cell, nights in baseline.nights.items():
        for night in nights:
            timed.setdefault(night.run, set()).add(cell)
    newest = baseline.info.get("run")
    return [
        f"  promoted {run}: {len(cells)} cells timed{_but(cells, baseline)}"
        + " (its figures are the baseline)" * (run == newest)
        for run, cells in sorted(timed.items())
    ]


def _but(cells: set[str], baseline: Baseline) -> str:
    """Name the cells of a baseline that a night's latency is not kept of, or say how many."""
    others = sorted(n for n, facts in baseline.cells.items() if facts.pairs and n not in cells)
    if len(others) > 3:
        return f", {len(others)} not"
    return f", not {', '.join(others)}" if others else ""


def _drifts(baseline: Baseline, later: list[LaterNight]) -> list[str]:
    """Return a line of each cell that drifts, the slowest first."""
    real: dict[str, Drift] = {}
    for cell, nights in baseline.nights.items():
        values = [night.medians[cell] for night in later if cell in night.medians]
        found = drift([float(np.median(night.pairs)) for night in nights], values)
        if found and found.is_real:
            real[cell] = found
    return [
        f"{cell} is {found.slower:.1%} slower over {found.nights} nights (p {found.p:.2g})"
        for cell, found in sorted(real.items(), key=lambda item: -item[1].slower)
    ]


@dataclass(frozen=True)
class LaterNight:
    """A run's cells that were last promoted before it."""

    run: str
    medians: dict[str, float]
    others: Counter[str]
    """Verdicts that are not green; such a latency is in no trend, it speaks for itself."""

    def __str__(self) -> str:
        others = "".join(f", {count} {verdict}" for verdict, count in self.others.items())
        return f"ran {self.run}: {len(self.medians)} cells timed{others}"


def _later_nights(
    hardware: set[str], baseline: Baseline, runs: list[RunFacts]
) -> Iterator[LaterNight]:
    newest = {
        cell: max(n.run for n in nights) for cell, nights in baseline.nights.items() if nights
    }
    threads = baseline.info.get("threads")
    for run in runs:
        here = _on(hardware, run)
        cells = {name: here[name] for name in here if name in newest and run.name > newest[name]}
        if not cells:
            continue
        verdicts = compare(baseline, RunFacts(run.info, cells), partial=True).verdicts
        good = comparable(RunFacts(run.info, cells), threads, hardware)
        medians = {
            v.cell: median_of(good[v.cell])
            for v in verdicts
            if v.metric == "latency"
            and v.verdict in (OK, IMPROVED, INSUFFICIENT)
            and v.cell in good
        }
        yield LaterNight(
            run.name,
            {cell: median for cell, median in medians.items() if median is not None},
            Counter(v.verdict for v in verdicts if v.verdict in NOT_GREEN),
        )


def _on(hardware: set[str], run: RunFacts) -> dict[str, CellFacts]:
    machine = run.info.get("machine", {})
    here = {d for d in map(device_of, run.cells) if fingerprint(machine, d) in hardware}
    return {cell: facts for cell, facts in run.cells.items() if device_of(cell) in here}


def comparable(run: RunFacts, threads: int | None, hardware: set[str]) -> dict[str, CellFacts]:
    """Return a run's good cells on some hardware, by fingerprint; none if its threads are others."""
    if run.info.get("threads") != threads:
        return {}
    here = _on(hardware, run)
    return {cell: facts for cell, facts in here.items() if facts.status == MEASURED}


def median_of(facts: CellFacts) -> float | None:
    """Return a night's log ratio, larger is faster; None where too many rounds were disturbed."""
    return float(np.median(facts.sound)) if facts.sound and not facts.is_void else None
