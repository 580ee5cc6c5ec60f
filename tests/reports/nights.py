"""Runs that never happened, with known spreads: what the gate's tests compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from reports.baselines import Baseline, merged, of_run
from reports.facts import Answers, CellFacts, RunFacts

MACHINE = {
    "cpu": "Some CPU",
    "instructions": ["avx2"],
    "logical_cores": 2,
    "memory_bytes": 8 << 30,
    "git_commit": "a" * 40,
    "matmul_gflops": 100.0,
}
RIGHT = np.random.default_rng(7).random(2000) < 0.86


def name(number: int) -> str:
    return f"movies/bert/finetune+{number}/cpu/s0"


def facts(pairs: Sequence[float] = (0.7,) * 5, **changed: Any) -> CellFacts:
    """Return a healthy cell, twice as fast as its reference."""
    metrics: dict[str, Any] = {
        "quality_metric": "accuracy",
        "quality": float(RIGHT.mean()),
        "size_bytes": 1_000_000,
        "memory_inference_peak_bytes": 50_000_000,
    }
    if len(pairs):
        metrics["speedup"] = float(np.exp(np.mean(pairs)))
    whole = CellFacts(
        "ok",
        artifact_sha256="a" * 64,
        threads=2,
        metrics=metrics,
        test_sha256="d" * 64,
        answers=Answers.of_right(RIGHT),
        pairs=tuple(pairs),
        work=(2.0,) * len(pairs),
    )
    return replace(whole, **changed)


def run(cells: dict[str, CellFacts], number: int = 0, **info: Any) -> RunFacts:
    known = {"run": f"night-{number:03d}", "machine": MACHINE, "versions": {"torch": "2.13"}}
    return RunFacts(known | info, cells)


def night(
    random: np.random.Generator,
    cells: int,
    number: int = 0,
    *,
    pairs: float = 0.02,
    nights: float = 0.008,
    slower: float = 0.0,
    later: int = 0,
) -> RunFacts:
    """Draw one night: each cell has an effect of the night, and each pair one of its own."""
    found = {}
    for index in range(cells):
        level = 0.7 - slower + random.normal(0, nights)
        drawn = random.normal(level, pairs, 5 + later)
        found[name(index)] = facts(drawn[:5], later=tuple(drawn[5:]))
    return run(found, number)


def history(random: np.random.Generator, cells: int, count: int, **spread: float) -> Baseline:
    """Return a baseline of `count` green nights."""
    baseline = of_run(night(random, cells, 0, **spread))
    for number in range(1, count):
        baseline, _ = merged(baseline, night(random, cells, number, **spread))
    return baseline
