"""Intervals hold what they promise; figures are those of the textbooks."""

from __future__ import annotations

import numpy as np
import pytest

from reports import statistics


def test_scores_of_unequal_classes_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score, matthews_corrcoef

    random = np.random.default_rng(0)
    for classes in (2, 3, 40):
        truth, predicted = random.integers(0, classes, (2, 200))
        assert statistics.macro_f1(predicted, truth) == pytest.approx(
            f1_score(truth, predicted, average="macro")
        )
        assert statistics.matthews(predicted, truth) == pytest.approx(
            matthews_corrcoef(truth, predicted)
        )
        assert statistics.f1(predicted, truth) == pytest.approx(
            f1_score(truth == 1, predicted == 1)
        )
    assert statistics.matthews(np.zeros(5, int), np.array([0, 1, 0, 1, 0])) == 0.0


def test_correlations_and_the_bootstrap_are_those_of_scipy() -> None:
    from scipy import stats

    random = np.random.default_rng(0)
    truth = random.normal(size=60)
    predicted = truth + random.normal(size=60)
    r = stats.pearsonr(predicted, truth).statistic
    assert statistics.pearson(predicted, truth) == pytest.approx(r)
    rho = stats.spearmanr(predicted, truth).statistic
    assert statistics.spearman(predicted, truth) == pytest.approx(rho)
    found = stats.bootstrap(
        (predicted, truth),
        statistics.pearson,
        n_resamples=statistics.RESAMPLES,
        paired=True,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    ours = statistics.bootstrap(statistics.pearson, predicted, truth)
    assert ours == pytest.approx((r, found.low, found.high))


def test_wilson_of_nine_in_ten() -> None:
    found = statistics.accuracy(np.array([True] * 9 + [False]))
    assert found == pytest.approx((0.9, 0.5958, 0.9821), abs=1e-4)


def test_wilson_of_all_right_is_not_certain() -> None:
    found = statistics.accuracy(np.ones(50, bool))
    assert found.value == found.high == 1.0
    assert found.low < 0.95


def test_a_percentile_is_given_only_where_the_samples_carry_it() -> None:
    assert statistics.percentile(np.arange(58.0), 95) is None
    assert statistics.percentile(np.arange(59.0), 95) is not None
    assert statistics.percentile(np.arange(298.0), 99) is None


def test_calibration_error() -> None:
    sure = np.log(np.array([[0.8, 0.2]] * 10))
    assert statistics.calibration_error(sure, np.array([0] * 8 + [1] * 2)) == pytest.approx(
        0, abs=1e-9
    )
    assert statistics.calibration_error(sure, np.ones(10, int)) == pytest.approx(0.8)


def test_paired_difference_and_mcnemar() -> None:
    ours, theirs = np.zeros(100, bool), np.zeros(100, bool)
    ours[:10], theirs[5:30] = True, True
    gap, p = statistics.accuracy_difference(ours, theirs)
    assert gap.value == pytest.approx(-0.15)
    assert gap.low < -0.15 < gap.high < 0
    assert p == pytest.approx(0.0041, abs=1e-3)  # 5 against 20 of 25


def test_correlations_of_a_constant_are_zero() -> None:
    assert statistics.pearson(np.ones(5), np.arange(5.0)) == 0.0
    assert statistics.spearman(np.arange(5.0), np.arange(5.0) ** 3) == pytest.approx(1.0)


def test_neither_bursts_nor_a_slower_machine_move_a_pair() -> None:
    reference, candidate = np.full((12, 20), 8e-3), np.full((12, 20), 4e-3)
    for seconds in (reference, candidate):
        seconds[:, 4:14] *= 1.5  # a slow half, for both
    candidate[:, ::2] *= 1.3  # one call of each round
    reference[:, 16:18] *= 2  # a whole round
    assert np.exp(statistics.pair_log_ratio(reference, candidate)) == pytest.approx(2.0)


def test_the_interval_of_a_speedup_covers_the_truth() -> None:
    """3 % between pairs, 1 % within: 95 % of the intervals over three pairs hold the true 2.0."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(600):
        pairs = []
        for _ in range(3):
            process = np.exp(random.normal(0, 0.03))
            calls = [np.exp(random.normal(0, 0.01, (12, 4))) for _ in range(2)]
            pairs.append((2.0 * process * calls[0], calls[1]))
        _, low, high = statistics.speedup(pairs)
        covered += low <= 2.0 <= high
    assert 0.93 <= covered / 600 <= 0.97


def test_one_pair_has_no_interval() -> None:
    value, low, high = statistics.speedup([(np.full((2, 2), 2.0), np.ones((2, 2)))])
    assert value == pytest.approx(2.0)
    assert np.isnan(low)
    assert np.isnan(high)
