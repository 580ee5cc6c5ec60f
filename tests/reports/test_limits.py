"""The limits keep what they promise on drawn nights: few false reds, and slow-downs found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from reports.comparison import compare
from reports.limits import PRIOR_NIGHTS, PRIOR_PAIRS, Spread, limits, median_variance, spreads
from tests.reports.nights import history, name, night

CELLS = 50


def test_the_prior_gives_the_limits_of_the_design() -> None:
    """3 % between pairs and 1 % between nights: t1 = 0.05 and t2 = 0.055 in DESIGN.md."""
    found = limits(Spread(0.03, 0.01, np.inf, 8), CELLS)
    assert found.first == pytest.approx(0.05, abs=0.005)
    assert found.second == pytest.approx(0.055, abs=0.005)
    assert found.first < found.second < found.alone < found.detectable < 0.10


def test_wider_spreads_and_younger_baselines_have_wider_limits() -> None:
    usual = limits(Spread(0.02, 0.01, 15, 8), CELLS)
    assert limits(Spread(0.02, 0.02, 15, 8), CELLS).detectable > usual.detectable
    assert limits(Spread(0.04, 0.01, 15, 8), CELLS).detectable > usual.detectable
    assert limits(Spread(0.02, 0.01, 15, 2), CELLS).detectable > usual.detectable
    assert limits(Spread(0.02, 0.01, 15, 8), 1).detectable < usual.detectable


def test_the_variance_of_a_median() -> None:
    medians = np.median(np.random.default_rng(0).standard_normal((200_000, 5)), axis=1)
    assert median_variance(5) == pytest.approx(medians.var(), rel=0.02)


def test_a_young_baseline_has_the_prior_or_more_and_an_old_one_its_own() -> None:
    random = np.random.default_rng(0)
    nights = [list(random.normal(random.normal(0.7, 0.02), 0.015, 5)) for _ in range(40)]
    young, old = (spreads({"a": nights[:n]})["a"] for n in (7, 40))
    assert (young.pairs, young.is_prior) == (PRIOR_PAIRS, True)
    assert PRIOR_NIGHTS < young.nights < 0.02
    two = spreads({"a": [[0.7] * 5] * 2})["a"]
    assert (two.pairs, two.nights) == (PRIOR_PAIRS, PRIOR_NIGHTS)
    assert old.pairs == pytest.approx(0.015, rel=0.2)
    assert old.nights == pytest.approx(0.02, rel=0.4)
    assert not old.is_prior


@pytest.mark.parametrize(("count", "pairs", "between"), [(4, 0.03, 0.01), (8, 0.02, 0.008)])
def test_healthy_nights_are_green_and_ten_percent_is_found(
    count: int, pairs: float, between: float
) -> None:
    """At most 1 % of nights of 50 cells red, at least 95 % of +10 % found: issue 6."""
    random = np.random.default_rng(1)
    reds = found = seen = 0
    for _ in range(6):
        baseline = history(random, CELLS, count, pairs=pairs, nights=between)
        for number in range(10):
            drawn = night(random, CELLS, 99 + number, pairs=pairs, nights=between, later=10)
            reds += bool(compare(baseline, drawn).failing())
        slow = night(
            random, CELLS, 99, pairs=pairs, nights=between, later=10, slower=float(np.log(1.1))
        )
        judged = compare(baseline, slow)
        useful = [v for v in judged.verdicts if v.metric == "latency" and (v.detectable or 1) < 0.1]
        found += sum(v.verdict == "regressed" for v in useful)
        seen += len(useful)
    assert reds <= 2  # of 60; at a true 1 % three or more have a chance of 2 %
    assert seen > 200 if count == 8 else True
    assert found >= binom.ppf(0.01, seen, 0.95)
    assert name(0) in baseline.cells
