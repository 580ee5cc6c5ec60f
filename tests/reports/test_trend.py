"""A cell's trend: what its machine's nights were, the baseline's level, and the limit."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from reports.baselines import of_machine
from reports.facts import facts_of
from reports.limits import limits, spreads
from reports.records import RUN, read_run
from reports.trend import Trends, trends
from tests.reports.made import make_nights, make_run

CELL = "movies/minilm-bert/finetune+int8/cpu/s0"


@pytest.fixture
def nights(tmp_path: Path) -> tuple[Path, Path]:
    return make_nights(tmp_path / "runs", 5)


def of(folder: Path, baselines: Path) -> Trends:
    return trends(read_run(folder), baselines)


def change(folder: Path, **changed: object) -> None:
    info = json.loads((folder / RUN).read_text())
    (folder / RUN).write_text(json.dumps(info | changed))


def test_the_promoted_nights_and_those_since_lead_to_this_one(nights: tuple[Path, Path]) -> None:
    made, baselines = nights
    found = of(made, baselines)
    assert found.nights == ["20260101", "20260102", "20260103", "20260104", "made"]
    assert found.now == "made"
    assert found.promoted == {"20260101", "20260102", "20260103"}
    for metric in ("latency", "quality", "size", "memory"):
        assert list(found.cells[CELL][metric].points) == found.nights
    pairs = facts_of(read_run(made)).cells[CELL].pairs
    assert found.cells[CELL]["latency"].points["made"] == pytest.approx(math.exp(np.median(pairs)))


def test_the_limit_is_the_gates(nights: tuple[Path, Path]) -> None:
    made, baselines = nights
    run = read_run(made)
    found = of(made, baselines).cells[CELL]
    known = of_machine(baselines, run.info["machine"])[0].nights
    histories = {name: [night.pairs for night in its] for name, its in known.items()}
    level = np.mean([np.median(pairs) for pairs in histories[CELL]])
    first = limits(spreads(histories)[CELL], len(histories), 5).first
    latency = found["latency"]
    assert latency.limit is not None
    assert math.log(latency.limit) == pytest.approx(level - first)
    assert latency.points["20260104"] > latency.limit > latency.points["made"]
    assert "slower" in latency.said
    size = found["size"]
    assert (size.level, size.limit) == (size.points["made"], 1.001 * size.points["made"])
    assert size.said == "ok: within 0.1%"


def test_where_the_runs_are_gone_the_baseline_still_has_its_latency(
    nights: tuple[Path, Path],
) -> None:
    made, baselines = nights
    for folder in made.parent.glob("2026*"):
        shutil.rmtree(folder)
    found = of(made, baselines).cells[CELL]
    assert list(found["latency"].points) == ["20260101", "20260102", "20260103", "made"]
    assert list(found["size"].points) == ["20260103", "made"]


def test_other_machines_other_threads_and_damaged_runs_are_left_out(
    nights: tuple[Path, Path],
) -> None:
    made, baselines = nights
    runs = made.parent
    change(make_run(runs / "20260105", 5), machine={"cpu": "another"})
    change(make_run(runs / "20260106", 5), threads=1)
    (make_run(runs / "20260107", 5) / RUN).write_text("{")
    (runs / "latest").symlink_to("20260104")
    assert of(made, baselines).nights == ["20260101", "20260102", "20260103", "20260104", "made"]


def test_one_night_is_no_trend(tmp_path: Path) -> None:
    found = of(make_run(tmp_path / "runs" / "made", 5), tmp_path / "nothing")
    assert found.cells == {}
    assert found.nights == []
