"""The judges of a cell: one of each metric, by the rules of docs/nightly.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import numpy as np

from reports.baselines import Baseline, Night, how_moved, usual_level
from reports.facts import CellFacts
from reports.leaderboard import REFERENCES
from reports.limits import POOL_WEIGHT, POWER, SECOND, Spread, limits
from reports.verdicts import (
    IMPROVED,
    INCOMPARABLE,
    INSUFFICIENT,
    MISSING,
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
PRIOR_SEEDS = 0.01
"""Standard deviation between seeds as a share of the reference's quality (docs/frontier.md has 0.9 %), used
until a baseline has enough seeds of its own."""


@dataclass(frozen=True)
class Context:
    """What the judgement of one cell needs to know of the others."""

    baseline: Baseline
    spreads: dict[str, Spread]
    qualities: dict[str, list[float]]
    """The baseline's qualities of a cell without its seed."""
    cells: int
    partial: bool
    elsewhere: Mapping[str, Sequence[str]]
    """By device, the baselines of other machines."""


def without_seed(cell: str) -> str:
    """Return a cell's id but for its seed."""
    return cell.rpartition("/")[0]


def seed_of(cell: str) -> str:
    """Return the seed in a cell's id: `s0`."""
    return cell.rpartition("/")[2]


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
    scale = _reference_quality(context.baseline, cell) or was
    margin = QUALITY_MARGIN * abs(scale)

    def verdict(name: str, rule: str, samples: str, was: float = was, **bounds: float) -> Verdict:
        found, size = bounds.pop("detectable", None), abs(was) or 1.0
        limits = {"margin": margin} | bounds
        worse = (was - value) / size
        detectable = found / size if found is not None else None
        return Verdict(cell, "quality", name, rule, was, value, worse, limits, samples, detectable)

    level = QUALITY_LEVEL / max(context.cells, 1)
    mine, theirs = now.answers, before.answers
    if mine and theirs and (fewer := theirs.examples - mine.examples) > 0:
        rule = f"the test split lost {fewer} of its examples"
        return verdict(REGRESSED, rule, f"{mine.examples} examples")
    hashes = {now.test_sha256, before.test_sha256} - {None}
    if len(hashes) > 1:
        return verdict(INCOMPARABLE, "the test split is another one", "")
    if mine and mine == theirs:
        bounds = {}
        if mine.form == "bits":
            bounds["detectable"] = _detectable_loss(margin, mine.examples, level)
        return verdict(OK, "every answer is the same", f"{mine.examples} examples", **bounds)
    if mine and theirs and now.artifact_sha256 == before.artifact_sha256:
        lost = theirs.values() - mine.values()
        low, high, p = _paired(lost, level)
        bounds = {"detectable": _detectable(margin, lost, level)}
        samples = f"{len(lost)} paired examples, {int(np.count_nonzero(lost))} differ, p {p:.2g}"
        rule = "the same artifact: paired loss"
        needed = _deciding(margin, lost, level)
    else:
        seeds = np.array(context.qualities[without_seed(cell)])
        was = float(seeds.mean())
        low, high, found = _against_seeds(seeds, value, margin, level, max(abs(was), abs(scale)))
        bounds = {"detectable": found}
        samples = f"1 against {len(seeds)} seeds"
        what = "a rebuilt artifact" if mine and theirs else "the answers were not kept"
        rule, needed = f"{what}: loss against the seeds", ""
        if len(seeds) < ENOUGH_SEEDS:
            rule = f"{what}: loss, if seeds lie {PRIOR_SEEDS:.0%} apart,"
            needed = f"; {ENOUGH_SEEDS} seeds decide, the baseline has {len(seeds)}"
    loss = was - value
    bounds |= {"low": low, "high": high}
    if low > margin:
        rule = f"{rule} {loss:.4f} is surely above {margin:.4f}"
        return verdict(REGRESSED, rule, samples, was, **bounds)
    if high < margin:
        name = IMPROVED if high < 0 and -loss > margin else OK
        return verdict(name, f"{rule} is surely below {margin:.4f}", samples, was, **bounds)
    rule = f"{rule} {loss:.4f} may be on either side of {margin:.4f}{needed}"
    return verdict(INSUFFICIENT, rule, samples, was, **bounds)


def _reference_quality(baseline: Baseline, cell: str) -> float | None:
    task, model, _, device, seed = cell.split("/")
    for recipe in REFERENCES:
        if facts := baseline.cells.get(f"{task}/{model}/{recipe}/{device}/{seed}"):
            return facts.metrics.get("quality")
    return None


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


def _far(level: float) -> float:
    """Return the standard errors between a bound at `level` and what exceeds it with 95 %."""
    from scipy.stats import norm

    return float(norm.isf(level) + norm.ppf(POWER))


def _detectable(margin: float, lost: np.ndarray, level: float) -> float:
    """Return the mean loss of paired examples [n] that is found with 95 %."""
    if set(np.unique(lost)) <= {-1.0, 0.0, 1.0}:
        return _detectable_loss(margin, len(lost), level)
    return margin + _far(level) * float(lost.std(ddof=1)) / math.sqrt(len(lost))


@lru_cache
def _detectable_loss(margin: float, examples: int, level: float) -> float:
    """Return the share of n examples, lost and none gained, that is found with 95 %."""
    from scipy.optimize import brentq

    far = _far(level)

    def surplus(loss: float) -> float:
        return loss - far * math.sqrt(loss * (1 - loss) / examples) - margin

    return float(brentq(surplus, margin, 1.0))


def _deciding(margin: float, lost: np.ndarray, level: float) -> str:
    """Say how many examples would tell a loss like this one from the margin, with 95 %."""
    apart = float(lost.mean()) - margin
    if not apart:
        return ""
    far = _far(level if apart > 0 else 1 - POWER) * float(lost.std(ddof=1))
    return f"; {math.ceil((far / apart) ** 2):,} examples would decide"


def _against_seeds(
    seeds: np.ndarray, value: float, margin: float, level: float, scale: float
) -> tuple[float, float, float]:
    """Bound the loss of one more seed [k]: below at `level`, above at 95 %; and what is found.

    Args:
        scale: the quality that the prior is a share of; a weak control's seeds vary as others do.

    The spread of few seeds is that of the prior. That of more is their own; from below it is
    moderated by the prior (as in Smyth 2004), because at one in 10,000 five seeds tell nothing.
    """
    from scipy.stats import norm, t

    k, mean = len(seeds), float(seeds.mean())
    prior, once_more = (PRIOR_SEEDS * scale) ** 2, 1 + 1 / k
    if k < ENOUGH_SEEDS:
        surely, likely = (norm.isf(p) * math.sqrt(prior * once_more) for p in (level, 1 - POWER))
    else:
        own, freedom = float(seeds.var(ddof=1)), POOL_WEIGHT + k - 1
        moderated = (POOL_WEIGHT * prior + (k - 1) * own) / freedom
        surely = t.isf(level, freedom) * math.sqrt(moderated * once_more)
        likely = t.isf(1 - POWER, k - 1) * math.sqrt(own * once_more)
    loss = mean - value
    return loss - float(surely), loss + float(likely), margin + float(surely + likely)


def latency(context: Context, cell: str, before: CellFacts, now: CellFacts) -> Verdict | None:
    """Judge the speed against the reference: is the median of the pairs slower than the nights'?"""
    nights = context.baseline.nights.get(cell, ())
    if not now.pairs:
        lost = nights and "speedup" in now.metrics
        return Verdict(cell, "latency", MISSING, "its pairs were not kept") if lost else None
    if not nights:
        return Verdict(cell, "latency", NEW, "the baseline has no undisturbed night of it")
    usual = usual_level(nights)
    sound = now.sound
    slower = usual - median(sound or now.pairs)
    later = now.sound_later
    spread = context.spreads[cell]
    limit = limits(spread, context.cells, max(len(sound), 1), len(later) or SECOND)
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
        if now.is_later_void:
            return verdict(VOID, "the second look was disturbed", slower, True)
        if moved := how_moved(nights, now.later_work):
            return verdict(REFERENCE_MOVED, f"in the second look {moved}", slower, True)
        if later:
            again = usual - median(later)
            samples += f", {len(later)} later"
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
    if moved := how_moved(nights, now.work):
        return REFERENCE_MOVED, moved
    return None


def _percent(log: float) -> str:
    return f"{math.expm1(log):.1%}"
