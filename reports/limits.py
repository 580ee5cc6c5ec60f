"""How slow is too slow: limits of the two stages of a night, from the spread that was seen.

A night's first look is the median of a few fresh pairs; a suspect is looked at again, later in the
same night, by the median of new pairs. Both share the night and the baseline, so their errors are
not independent: with `s` the shared part, P(red) = E[P(first > t1 | s) P(second > t2 | s)].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

NIGHT_LEVEL = 0.005
"""Chance that latency alone makes a healthy night red; quality has as much again."""
SUSPECTS = 0.01
"""Share of healthy cells that are looked at a second time."""
POWER = 0.95
ENOUGH_NIGHTS = 8
PRIOR_PAIRS, PRIOR_NIGHTS = 0.03, 0.01
"""Standard deviations of the log ratio between fresh pairs and between nights, seen on two quiet
cores; used until a baseline has enough nights of its own."""
POOL_WEIGHT = 8
"""Degrees of freedom that the spread of all cells lends to a single cell's own (as in Smyth 2004)."""
FIRST, SECOND = 5, 10
"""Pairs of the two stages."""


class Spread(NamedTuple):
    """Standard deviations of one cell's log ratio."""

    pairs: float
    nights: float
    freedom: float
    """Degrees of freedom behind `nights`; infinite for the prior."""
    seen: int
    """Nights in the baseline."""

    @property
    def is_prior(self) -> bool:
        return self.freedom == np.inf


@dataclass(frozen=True)
class Limits:
    """A cell's limits, in log units: positive is slower."""

    first: float
    second: float
    alone: float
    """What a single look must exceed where there is no second."""
    detectable: float
    """The slow-down that the two stages find with 95 %."""


def spreads(
    histories: Mapping[str, Sequence[Sequence[float]]], enough: int = ENOUGH_NIGHTS
) -> dict[str, Spread]:
    """Return each cell's spread from the pairs of its nights: {cell: [night][pair]}.

    A cell with too few nights gets the prior, or more where what it has varies more already. The
    others' own variances are moderated by the mean over all of them, so that one cell's lucky
    nights do not make its limits too narrow.
    """
    apart = {cell: _between(nights) for cell, nights in histories.items()}
    own = {
        cell: (_within(nights)[0], *apart[cell])
        for cell, nights in histories.items()
        if apart[cell][1] >= enough
    }
    pooled_within = float(np.mean([within for within, _, _ in own.values()])) if own else 0.0
    pooled_between = float(np.mean([between for _, between, _ in own.values()])) if own else 0.0
    found = {}
    for cell, nights in histories.items():
        if cell not in own:
            pairs = max(PRIOR_PAIRS, _moderated(*_within(nights), PRIOR_PAIRS**2))
            between, count = apart[cell]
            nightly = max(PRIOR_NIGHTS, _moderated(between, max(count - 1, 0), PRIOR_NIGHTS**2))
            found[cell] = Spread(pairs, nightly, np.inf, len(nights))
            continue
        within, between, count = own[cell]
        _, pairs_freedom = _within(nights)
        found[cell] = Spread(
            _moderated(within, pairs_freedom, pooled_within),
            _moderated(between, count - 1, pooled_between),
            POOL_WEIGHT + count - 1,
            count,
        )
    return found


def _within(nights: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the variance within nights, and its degrees of freedom."""
    kept = [np.asarray(pairs) for pairs in nights if len(pairs) > 1]
    freedom = sum(len(pairs) - 1 for pairs in kept)
    squares = sum(float(pairs.var()) * len(pairs) for pairs in kept)
    return (squares / freedom if freedom else 0.0), freedom


def _between(nights: Sequence[Sequence[float]]) -> tuple[float, int]:
    """Return the variance between nights, and how many say so."""
    kept = [np.asarray(pairs) for pairs in nights if len(pairs) > 1]
    if len(kept) < 2:
        return 0.0, len(kept)
    within, _ = _within(nights)
    medians = np.array([np.median(pairs) for pairs in kept])
    inside = np.mean([within * median_variance(len(pairs)) for pairs in kept])
    return max(float(medians.var(ddof=1) - inside), 0.0), len(kept)


def _moderated(own: float, freedom: float, pooled: float) -> float:
    variance = (freedom * own + POOL_WEIGHT * pooled) / (freedom + POOL_WEIGHT)
    return round(max(float(np.sqrt(variance)), 1e-3), 4)


@lru_cache
def median_variance(n: int) -> float:
    """Variance of the median of n standard normals; exact for odd n, 8 % too large for n = 10."""
    from scipy.stats import beta, norm

    middle = (n + 1) / 2
    return float(beta(middle, middle).expect(lambda u: norm.ppf(u) ** 2))


@lru_cache
def _shared(freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points and weights of a t distribution, dense in the middle and reaching far out."""
    from scipy.stats import t

    steps = np.linspace(-6, 6, 1601)
    points = np.sinh(steps)
    weights = t.pdf(points, freedom) * np.gradient(points)
    return points, weights / weights.sum()


@lru_cache(maxsize=100_000)
def limits(spread: Spread, cells: int, pairs: int = FIRST, later: int = SECOND) -> Limits:
    """Return the limits of one of `cells` cells whose two looks have so many pairs."""
    from scipy.optimize import brentq
    from scipy.special import ndtr

    level = NIGHT_LEVEL / max(cells, 1)
    first_noise = spread.pairs * np.sqrt(median_variance(pairs))
    second_noise = spread.pairs * np.sqrt(median_variance(later))
    baseline = (spread.nights**2 + first_noise**2) / max(spread.seen, 1)
    points, weights = _shared(spread.freedom)
    shared = points * np.sqrt(spread.nights**2 + baseline)

    def exceeds(first: float, second: float | None, slower: float = 0.0) -> float:
        chance = ndtr((shared + slower - first) / first_noise)
        if second is not None:
            chance = chance * ndtr((shared + slower - second) / second_noise)
        return float(weights @ chance)

    far = 5.0
    first = brentq(lambda limit: exceeds(limit, None) - SUSPECTS, 0, far, xtol=1e-5)
    alone = brentq(lambda limit: exceeds(limit, None) - level, 0, far, xtol=1e-5)
    second = brentq(lambda limit: exceeds(first, limit) - level, -far, far, xtol=1e-5)
    second = max(second, first)
    slower = brentq(lambda slower: exceeds(first, second, slower) - POWER, 0, 2 * far, xtol=1e-5)
    return Limits(first, second, alone, slower)
