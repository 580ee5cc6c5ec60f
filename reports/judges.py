"""The judges of a cell: one of each metric, by the rules of docs/nightly.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, median

import numpy as np

from reports.baselines import Baseline, Night, usual_level
from reports.facts import DISTURBED, CellFacts
from reports.limits import POWER, SECOND, Spread, limits
from reports.verdicts import (
    IMPROVED,
    INCOMPARABLE,
    INSUFFICIENT,
    NEW,
    OK,
    REFERENCE_MOVED,
    REGRESSED,
    VOID,
    Verdict,
)

QUALITY_MARGIN = 0.01
"""A loss of this share of the reference's quality is tolerated."""
QUALITY_LEVEL = 0.005
"""Chance that quality makes a healthy night red, over all its cells."""
SIZE_TOLERANCE = 0.001
MEMORY_TOLERANCE = 0.03
MEMORY_PAGES = 1 << 20
"""Bytes that memory may grow by in any case: a control of 1 MB varied by 0.14 MB from run to run."""
LARGEST_USEFUL = 0.15
"""Where only a larger slow-down than this would be found, `ok` would promise too much."""
ENOUGH_SEEDS = 5


@dataclass(frozen=True)
class Context:
    """What the judgement of one cell needs to know of the others."""

    baseline: Baseline
    spreads: dict[str, Spread]
    qualities: dict[str, list[float]]
    """The baseline's qualities of a cell without its seed."""
    cells: int
    partial: bool
    elsewhere: tuple[str, ...]


def without_seed(cell: str) -> str:
    """Return a cell's id but for its seed."""
    return cell.rpartition("/")[0]


def size(cell: str, before: CellFacts, now: CellFacts) -> Verdict | None:
    """Judge the bytes on disk, which do not vary."""
    return _tolerated(cell, "size", "size_bytes", SIZE_TOLERANCE, before, now)


def memory(cell: str, before: CellFacts, now: CellFacts) -> Verdict | None:
    """Judge the peak while predicting; of a small process the pages of the allocator are a part."""
    name = "memory_inference_peak_bytes"
    tolerance = max(MEMORY_TOLERANCE, MEMORY_PAGES / max(before.metrics.get(name, 1), 1))
    return _tolerated(cell, "memory", name, tolerance, before, now)


def _tolerated(
    cell: str, metric: str, name: str, tolerance: float, before: CellFacts, now: CellFacts
) -> Verdict | None:
    """Judge a metric that hardly varies: lower is better, within a tolerance."""
    was, value = before.metrics.get(name), now.metrics.get(name)
    if was is None or value is None:
        return None
    worse = value / was - 1 if was else float(value > 0)
    verdict = REGRESSED if worse > tolerance else IMPROVED if worse < -tolerance else OK
    rules = {
        REGRESSED: f"larger by more than {tolerance:.1%}",
        IMPROVED: f"smaller by more than {tolerance:.1%}",
        OK: f"within {tolerance:.1%}",
    }
    limits = {"tolerance": tolerance}
    samples = "1 against 1"
    return Verdict(
        cell, metric, verdict, rules[verdict], was, value, worse, limits, samples, tolerance
    )


def quality(context: Context, cell: str, before: CellFacts, now: CellFacts) -> Verdict | None:
    """Judge non-inferiority: is the loss within the margin, beyond it, or cannot one tell?"""
    was, value = before.metrics.get("quality"), now.metrics.get("quality")
    if was is None or value is None:
        return None
    loss = was - value
    scale = _reference_quality(context.baseline, cell) or was
    margin = QUALITY_MARGIN * abs(scale)

    def verdict(name: str, rule: str, samples: str, **bounds: float) -> Verdict:
        found = bounds.pop("detectable", None)
        worse = loss / abs(was) if was else loss
        limits = {"margin": margin} | bounds
        return Verdict(cell, "quality", name, rule, was, value, worse, limits, samples, found)

    if now.answers is None or before.answers is None:
        return verdict(INSUFFICIENT, "the answers were not kept", "none")
    n, fewer = now.answers.examples, before.answers.examples - now.answers.examples
    if fewer > 0:
        return verdict(REGRESSED, f"the test split lost {fewer} of its examples", f"{n} examples")
    if now.test_sha256 != before.test_sha256:
        return verdict(INCOMPARABLE, "the test split is another one", f"{n} examples")
    level = QUALITY_LEVEL / max(context.cells, 1)
    lost = before.answers.values() - now.answers.values()
    if not lost.any():
        return verdict(OK, "every answer is the same", f"{n} examples", detectable=margin)
    if now.artifact_sha256 == before.artifact_sha256:
        low, high, p = _paired(lost, level)
        detectable = _detectable_loss(margin, n, level)
        samples = f"{n} paired examples, {int(np.count_nonzero(lost))} differ, p {p:.2g}"
        rule = "the same artifact: paired loss"
    else:
        seeds = context.qualities[without_seed(cell)]
        if len(seeds) < ENOUGH_SEEDS:
            rule = f"a rebuilt artifact: {ENOUGH_SEEDS} seeds decide, the baseline has {len(seeds)}"
            return verdict(INSUFFICIENT, rule, f"{len(seeds)} seeds")
        loss = float(np.mean(seeds)) - value
        low, high, detectable = _against_seeds(np.array(seeds), value, margin, level)
        samples = f"1 against {len(seeds)} seeds"
        rule = "a rebuilt artifact: loss against the seeds"
    bounds = {"low": low, "high": high, "detectable": detectable}
    if low > margin:
        return verdict(
            REGRESSED, f"{rule} {loss:.4f} is surely above {margin:.4f}", samples, **bounds
        )
    if high < margin:
        name = IMPROVED if high < 0 and -loss > margin else OK
        return verdict(name, f"{rule} is surely below {margin:.4f}", samples, **bounds)
    needed = ""
    if now.artifact_sha256 == before.artifact_sha256 and loss != margin:
        far = abs(margin - loss)
        factor = ((margin - low) if loss > margin else (high - margin)) / far + 1
        needed = f"; {math.ceil(n * factor**2)} examples would decide"
    rule = f"{rule} {loss:.4f} may be on either side of {margin:.4f}{needed}"
    return verdict(INSUFFICIENT, rule, samples, **bounds)


def _reference_quality(baseline: Baseline, cell: str) -> float | None:
    task, model, _, device, seed = cell.split("/")
    facts = baseline.cells.get(f"{task}/{model}/finetune/{device}/{seed}")
    return facts.metrics.get("quality") if facts else None


def _paired(lost: np.ndarray, level: float) -> tuple[float, float, float]:
    """Bound the mean loss of paired examples [n]: below at `level`, above at 95 %; and a p-value.

    The p-value is McNemar's exact one where the examples are right or wrong.
    """
    from scipy.stats import binomtest, ttest_1samp

    test = ttest_1samp(lost, 0.0)
    low = test.confidence_interval(1 - 2 * level).low
    high = test.confidence_interval(2 * POWER - 1).high
    if set(np.unique(lost)) <= {-1.0, 0.0, 1.0}:
        worse, better = int((lost > 0).sum()), int((lost < 0).sum())
        return float(low), float(high), float(binomtest(better, worse + better).pvalue)
    return float(low), float(high), float(test.pvalue)


@lru_cache
def _detectable_loss(margin: float, examples: int, level: float) -> float:
    """Return the loss of n examples that is found with 95 % if no example gets better instead."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    far = norm.isf(level) + norm.ppf(POWER)

    def surplus(loss: float) -> float:
        return loss - far * math.sqrt(loss * (1 - loss) / examples) - margin

    return float(brentq(surplus, margin, 1.0))


def _against_seeds(
    seeds: np.ndarray, value: float, margin: float, level: float
) -> tuple[float, float, float]:
    """Bound the loss of one more seed [k]: below at `level`, above at 95 %; and what is found."""
    from scipy.stats import t

    k = len(seeds)
    spread = float(seeds.std(ddof=1)) * math.sqrt(1 + 1 / k)
    loss = float(seeds.mean()) - value
    surely, likely = (float(t.isf(p, k - 1)) * spread for p in (level, 1 - POWER))
    return loss - surely, loss + likely, margin + surely + likely


def latency(context: Context, cell: str, before: CellFacts, now: CellFacts) -> Verdict | None:
    """Judge the speed against the reference: is the median of the pairs slower than the nights'?"""
    nights = context.baseline.nights.get(cell, ())
    if not now.pairs:
        return None
    if not nights:
        return Verdict(cell, "latency", NEW, "the baseline has no undisturbed night of it")
    usual = usual_level(nights)
    sound = now.sound
    slower = usual - median(sound or now.pairs)
    limit = limits(context.spreads[cell], context.cells, max(len(sound), 1))
    bounds = {"first": limit.first, "second": limit.second, "alone": limit.alone}
    samples = f"{len(sound)} pairs against {len(nights)} nights"

    def verdict(name: str, rule: str, slower: float = slower, suspect: bool = False) -> Verdict:
        return Verdict(
            cell,
            "latency",
            name,
            rule,
            math.exp(usual),
            math.exp(usual - slower),
            math.expm1(slower),
            bounds,
            samples,
            math.expm1(limit.detectable),
            suspect,
        )

    if untimed := _why_not_timed(before, now, nights):
        return verdict(*untimed)
    if slower > limit.first:
        if 0 < len(now.later) <= SECOND // 2:
            return verdict(VOID, "the second look was disturbed", slower, True)
        if now.later:
            again = usual - median(now.later)
            samples += f", {len(now.later)} later"
            if again > limit.second:
                rule = f"slower by more than {_percent(limit.first)}, and later than {_percent(limit.second)}"
                return verdict(REGRESSED, rule, again, True)
            rule = f"slower at first ({_percent(slower)}), not by {_percent(limit.second)} later"
            return verdict(OK, rule, again, True)
        if slower > limit.alone:
            rule = f"slower by more than {_percent(limit.alone)} in a single look"
            return verdict(REGRESSED, rule, slower, True)
        rule = f"slower by more than {_percent(limit.first)}: a second look would decide"
        return verdict(INSUFFICIENT, rule, slower, True)
    if slower < -limit.alone:
        return verdict(IMPROVED, f"faster by more than {_percent(limit.alone)}")
    if math.expm1(limit.detectable) > LARGEST_USEFUL:
        return verdict(INSUFFICIENT, f"only more than {LARGEST_USEFUL:.0%} would be found")
    return verdict(OK, f"not slower by {_percent(limit.first)}")


def _why_not_timed(
    before: CellFacts, now: CellFacts, nights: Sequence[Night]
) -> tuple[str, str] | None:
    """Return the verdict and the rule where the pairs of a cell say nothing of its speed."""
    if now.threads != before.threads:
        return INCOMPARABLE, f"threads: {before.threads} -> {now.threads}"
    if now.is_void:
        lost = f"{len(now.pairs) - len(now.sound)} of {len(now.pairs)}"
        return VOID, f"{lost} rounds were disturbed: the reference moved within the night"
    moved = _reference_moved(nights, now)
    if abs(moved) > DISTURBED:
        how = f"{abs(math.expm1(moved)):.1%} {'slower' if moved > 0 else 'faster'}"
        return REFERENCE_MOVED, f"the reference itself is {how} against the matrix product"
    return None


def _percent(log: float) -> str:
    return f"{math.expm1(log):.1%}"


def _reference_moved(nights: Sequence[Night], now: CellFacts) -> float:
    """Return the log of how much slower the reference is, against the matrix product."""
    known = [night.work for night in nights if night.work is not None]
    if not known or not now.work:
        return 0.0
    return median(now.work) - fmean(known)
