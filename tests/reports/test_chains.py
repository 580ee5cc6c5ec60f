"""Chains are chosen on validation; what they keep on test is bounded over all seeds together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.facts import Answers, CellFacts
from reports.records import Metric, Record, Run
from reports.studies.chains import chains, kept_low, table
from tests.reports.test_leaderboard import records, run

QUALITIES = {"finetune": 0.8, "finetune+int8": 0.76, "finetune+onnx": 0.79}


def with_validation(record: Record) -> Record:
    if record.measure != "accuracy":
        return record
    value = QUALITIES[record.cell["recipe"]]  # type: ignore[index]
    return replace(
        record, metrics=record.metrics | {"validation_quality": Metric(value, "", False)}
    )


def made() -> Run:
    found = []
    for seed in (0, 1):
        found += records("finetune", 0.80, 100, 1.0, seed=seed)
        found += records("finetune+int8", 0.80, 25, 2.0 + 6 * seed, seed=seed)
        found += records("finetune+onnx", 0.79, 101, 0.9, seed=seed)
    return run([with_validation(record) for record in found])


def test_a_chain_is_placed_by_validation_size_and_speed() -> None:
    found = {chain.recipe: chain for chain in chains(made())}
    int8 = found["finetune+int8"]
    assert int8.seeds == 2
    assert int8.validation_kept == pytest.approx(0.95)
    assert int8.test_kept == 1.0  # test does not choose
    assert int8.size_ratio == 4.0
    assert int8.speedup == pytest.approx(4.0)
    assert [name for name, chain in found.items() if chain.on_front] == [
        "finetune+int8",
        "finetune",
    ]
    assert "◆ `finetune+int8`" in table(list(found.values()))


def facts(right: np.ndarray) -> CellFacts:
    return CellFacts("ok", answers=Answers.of_right(right), test_sha256="same")


def test_the_bound_is_of_all_seeds_and_narrower_than_of_one() -> None:
    random = np.random.default_rng(0)
    reference = random.random(2000) < 0.85
    seeds = []
    for _ in range(3):
        turned = random.random(2000) < 0.02
        seeds.append((facts(reference & ~turned), facts(reference)))
    kept = np.mean([a.answers.values().mean() for a, _ in seeds]) / reference.mean()  # type: ignore[union-attr]
    low = kept_low(seeds)
    assert low is not None
    assert low < kept < 1
    alone = kept_low(seeds[:1])
    assert alone is not None
    assert kept - low < 0.8 * (1 - alone)


def test_other_examples_have_no_common_bound() -> None:
    one = facts(np.ones(4, dtype=bool))
    assert kept_low([(one, one), (one, replace(one, test_sha256="other"))]) is None
    assert kept_low([(one, replace(one, answers=None))]) is None
