"""The nights of a machine: what was promoted, what ran since, and whether a cell drifts.

A slow-down that is too small for one night adds up: the mean over the last nights, taken against
the baseline's own nights, has a smaller error than any of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from reports.baselines import FILE, Baseline, fingerprint, names, read
from reports.facts import CellFacts, facts_of
from reports.records import RUN, RecordError, read_run

DRIFT_NIGHTS = 8
"""The newest nights that are taken together."""
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
        BaselineError: a baseline is damaged.
    """
    parts = []
    for name in names(baselines):
        baseline = read(baselines / name / FILE)
        parts += [name, *_nights(baseline), *_drifts(name, baseline, output), ""]
    return "\n".join(parts).rstrip() or f"no baselines in {baselines}: leanboard promote RUN"


def _nights(baseline: Baseline) -> list[str]:
    cells: dict[str, int] = {}
    for nights in baseline.nights.values():
        for night in nights:
            cells[night.run] = cells.get(night.run, 0) + 1
    newest = baseline.info.get("run")
    return [
        f"  promoted {run}: {count} cells timed{' (its figures are the baseline)' * (run == newest)}"
        for run, count in sorted(cells.items())
    ]


def _drifts(name: str, baseline: Baseline, output: Path) -> list[str]:
    known = {night.run for nights in baseline.nights.values() for night in nights}
    later: dict[str, list[float]] = {}
    lines = []
    for folder in sorted(path.parent for path in output.glob(f"*/{RUN}")):
        if folder.is_symlink() or folder.name in known:
            continue
        try:
            run = facts_of(read_run(folder))
        except RecordError as error:
            lines.append(f"  left out: {error}")
            continue
        ours = {
            cell: facts
            for cell, facts in run.cells.items()
            if cell in baseline.nights
            and fingerprint(run.info["machine"], cell.split("/")[3]) == name
        }
        if ours:
            lines.append(f"  ran {folder.name}: {len(ours)} cells")
        for cell, facts in ours.items():
            if median := median_of(facts):
                later.setdefault(cell, []).append(median)
    for cell, medians in later.items():
        promoted = [float(np.median(night.pairs)) for night in baseline.nights[cell]]
        found = drift(promoted, medians)
        if found and found.is_real:
            lines.append(
                f"  drifts: {cell} is {found.slower:.1%} slower over {found.nights} nights "
                f"(p {found.p:.2g})"
            )
    return lines


def median_of(facts: CellFacts) -> float | None:
    """Return a night's log ratio, larger is faster; None where too many rounds were disturbed."""
    return float(np.median(facts.sound)) if facts.sound and not facts.is_void else None
