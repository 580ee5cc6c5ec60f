"""The study of the gate counts what it says, on nights whose spread is known."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from reports.facts import RunFacts
from reports.studies import gate
from reports.verdicts import OK, REFERENCE_MOVED, REGRESSED, VOID
from tests.reports.nights import night


def drawn(count: int) -> list[RunFacts]:
    random = np.random.default_rng(0)
    return [night(random, 10, number) for number in range(count)]


def test_a_count_carries_its_binomial_bound() -> None:
    """None of 20: at most 13.9 % with 95 % (the rule of three says 15 %)."""
    assert str(gate.Count(0, 20)) == "0 of 20 (0.0%; at most 13.9% with 95 %)"
    assert str(gate.Count(0, 0)) == "none"


def test_healthy_nights_are_green_and_slow_ones_found() -> None:
    runs = drawn(10)
    assert [comparison.status() for comparison in gate.real_nights(runs)] == [0] * 10
    rows = gate.drawn_nights(runs, 10, total=100, cells=10)
    assert int(rows[0][1].split()[0]) <= 4  # at a true 1 % five or more have a chance of 0.3 %
    assert rows[-1][0].startswith("drawn again, +20% latency")
    found, _, disturbed = rows[-1][1].rpartition("; ")
    assert float(found.rpartition("(")[2].rstrip("%)")) > 99
    assert disturbed == "0 disturbed"


def test_a_disturbed_night_is_no_miss() -> None:
    """Of ten slow cells one was missed and two could not be judged: seven of eight were found."""
    verdicts = Counter({REGRESSED: 7, OK: 1, VOID: 1, REFERENCE_MOVED: 1})
    assert gate.found_of(verdicts) == "7 of 8 that were judged (87.5%); 2 disturbed"
    assert gate.found_of(Counter({VOID: 2})) == "0 of 0 that were judged; 2 disturbed"


def test_changes_of_every_cell_are_counted() -> None:
    rows = dict(gate.changed_nights(drawn(4)))
    assert rows["real nights, memory +5% in each cell: found"] == "40 of 40"
    assert rows["real nights, bytes +1% in each cell: found"] == "40 of 40"
    assert rows["real nights, 1 points of accuracy in each cell: found"] == "0 of 40"
    assert rows["real nights, 3 points of accuracy in each cell: found"] == "40 of 40"


def test_pytest_benchmarks_own_gate_knows_only_means(tmp_path: Path) -> None:
    for name, mean in (("a", 1.0), ("b", 1.2), ("c", 1.21)):
        (tmp_path / name).mkdir()
        stats = [{"fullname": "x", "stats": {"mean": mean}}]
        path = tmp_path / name / "pytest-benchmark.json"
        path.write_text(json.dumps({"benchmarks": stats}))
    nights, benchmarks = gate.plain_gate([tmp_path / name for name in "abc"])
    assert (nights.hits, nights.of, benchmarks.hits, benchmarks.of) == (1, 2, 1, 2)
