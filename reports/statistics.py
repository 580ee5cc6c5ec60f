"""Intervals and scores: tests and intervals are scipy's, scores are counted here.

A bootstrap asks for a score a thousand times. Of 2,000 examples scikit-learn's F1 and Matthews'
correlation take 4 ms and more (these 0.06), scipy's Pearson 1 ms (this 0.2), and scipy's bootstrap
draws the same resamples more slowly. The tests hold all of them to the libraries' results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 1000
PERCENTILE_NEEDS = {50: 1, 90: 29, 95: 59, 99: 299}
"""Samples from which the largest one bounds the percentile with 95 % confidence: p^n <= 0.05."""


class Interval(NamedTuple):
    """An estimate and its 95 % confidence interval."""

    value: float
    low: float
    high: float


def accuracy(right: np.ndarray) -> Interval:
    """Share of right answers, with Wilson's interval. `right`: bool [n]."""
    from scipy.stats import binomtest

    hits, n = int(right.sum()), len(right)
    bounds = binomtest(hits, n).proportion_ci(method="wilson")
    return Interval(hits / n, float(bounds.low), float(bounds.high))


def pearson(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Pearson correlation; 0 if one side is constant. Both [n]."""
    if np.ptp(predicted) == 0 or np.ptp(truth) == 0:
        return 0.0
    return float(np.corrcoef(predicted, truth)[0, 1])


def spearman(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Rank correlation; 0 if one side is constant. Both [n]."""
    from scipy.stats import rankdata

    return pearson(rankdata(predicted), rankdata(truth))


def macro_f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean over the classes of `truth` or `predicted` of F1. Both int [n]."""
    size = int(max(predicted.max(), truth.max())) + 1
    right = np.bincount(truth[predicted == truth], minlength=size)
    total = np.bincount(predicted, minlength=size) + np.bincount(truth, minlength=size)
    return float((2 * right[total > 0] / total[total > 0]).mean())


def f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """F1 of class 1; 0 if it is neither there nor found. Both int [n]."""
    found, there = predicted == 1, truth == 1
    return float(2 * (found & there).sum() / max(1, found.sum() + there.sum()))


def matthews(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Matthews' correlation of classes (Gorodkin 2004); 0 if one side is constant. Both int [n]."""
    size = int(max(predicted.max(), truth.max())) + 1
    ours, theirs = (np.bincount(a, minlength=size).astype(float) for a in (predicted, truth))
    n, hits = len(truth), float((predicted == truth).sum())
    spread = (n**2 - ours @ ours) * (n**2 - theirs @ theirs)
    return float((hits * n - ours @ theirs) / np.sqrt(spread)) if spread else 0.0


def bootstrap(
    score: Callable[..., float], *arrays: np.ndarray, resamples: int = RESAMPLES
) -> Interval:
    """Percentile bootstrap of a score of paired arrays [n], resampled together; fixed seed."""
    random = np.random.default_rng(0)
    n = len(arrays[0])
    drawn = [
        score(*(array[rows] for array in arrays))
        for rows in (random.integers(0, n, n) for _ in range(resamples))
    ]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(score(*arrays), float(low), float(high))


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error, 15 bins of equal width (Guo et al. 2017, arXiv 1706.04599)."""
    from scipy.special import softmax

    probabilities = softmax(logits, axis=1)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bin_of = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.abs(
        np.bincount(bin_of, right.astype(float), bins) - np.bincount(bin_of, confidence, bins)
    )
    return float(gaps.sum() / len(labels))


def accuracy_difference(right: np.ndarray, reference: np.ndarray) -> tuple[Interval, float]:
    """Paired difference of two accuracies (ours - reference's) and McNemar's exact p.

    Args:
        right, reference: bool [n], the same examples.
    """
    from scipy.stats import binomtest, ttest_1samp

    difference = right.astype(float) - reference.astype(float)
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    p = float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    low, high = ttest_1samp(difference, 0).confidence_interval()
    return Interval(float(difference.mean()), float(low), float(high)), p


def percentile(samples: np.ndarray, rank: int) -> float | None:
    """Return a percentile, or None where the samples do not carry it."""
    if samples.size < PERCENTILE_NEEDS[rank]:
        return None
    return float(np.percentile(samples, rank))


def fastest_of_rounds(seconds: np.ndarray) -> np.ndarray:
    """Return the faster call of each round A B B A [requests, rounds]: other work only ever adds.

    Args:
        seconds: [requests, blocks], two blocks a round.
    """
    return seconds.reshape(len(seconds), -1, 2).min(axis=2)


def pair_log_ratio(reference: np.ndarray, candidate: np.ndarray) -> float:
    """One pair's figure: for each request and round the log ratio; the median over rounds, averaged.

    What slows the machine for longer than a round slows both, and what is shorter moves few rounds.
    What slows some of the calls only is not in this figure: the percentiles are for that.

    Args:
        reference, candidate: seconds [requests, blocks].
    """
    ratios = np.log(fastest_of_rounds(reference) / fastest_of_rounds(candidate))
    return float(np.median(ratios, axis=1).mean())


def speedup(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> Interval:
    """Speed-up over fresh (reference, candidate) pairs, with a t interval over the pairs.

    With a single pair there is no interval: low and high are NaN.
    """
    from scipy.stats import ttest_1samp

    ratios = np.array([pair_log_ratio(reference, candidate) for reference, candidate in pairs])
    value = float(np.exp(ratios.mean()))
    if len(ratios) < 2:
        return Interval(value, float("nan"), float("nan"))
    low, high = ttest_1samp(ratios, 0).confidence_interval()
    return Interval(value, float(np.exp(low)), float(np.exp(high)))
