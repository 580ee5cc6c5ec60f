"""Latency and speed-up, timed in workers; pytest-benchmark gets every call of batch 1."""

from typing import Any

import pytest

from benchmarks import clock
from benchmarks.matrix import Cell
from benchmarks.session import Session


@pytest.mark.benchmark(timer=clock.now, disable_gc=False)
def test_latency(
    leanboard: Session,
    benchmark: Any,
    task: str,
    model: str,
    recipe: str,
    device: str,
    seed: int,
) -> None:
    cell = Cell(task, model, recipe, device, seed)
    record = leanboard.check("latency", cell)
    seconds = leanboard.single_seconds(record)
    calls = iter(seconds)
    benchmark.group = f"{task}/{model} on {device}, one text a call"
    benchmark.extra_info.update(leanboard.known_of(cell))
    benchmark.pedantic(lambda: clock.advance(next(calls)), rounds=len(seconds))
