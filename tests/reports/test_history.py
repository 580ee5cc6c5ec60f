"""What `leanboard history` takes for a drift: later nights that are good, and like the baseline's."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.baselines import FILE, BaselineError, promote
from reports.facts import facts_of
from reports.history import drifting, history
from reports.records import RECORDS, RUN, Metric, read_run
from tests.reports.made import make_run

CELLS = 3
SLOWER = 0.04
"""A log ratio that is too small for a single night."""
DRIFTS = re.compile(r"drifts: (\S+) is (\d+\.\d)% slower over (\d+) nights")
RAN = re.compile(r"ran (\S+): (\d+) cells timed")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def change(folder: Path, **changed: object) -> None:
    info = json.loads((folder / RUN).read_text())
    (folder / RUN).write_text(json.dumps(info | changed))


def make(
    output: Path, days: range, slower: float = 0.0, promoted: bool = False, **info: Any
) -> list[Path]:
    """Write a run for each day of a month, and make them baselines."""
    folders = [make_run(output / f"202601{day:02}", CELLS, day, slower) for day in days]
    for folder in folders:
        change(folder, **info)
        if promoted:
            promote(facts_of(read_run(folder)), output / "baselines")
    return folders


def said(output: Path) -> str:
    return history(output / "baselines", output)


def edit(folder: Path, measure: str, recipe: str, **changed: Any) -> None:
    """Write a run's records again, those of one measure and recipe changed."""
    records = [
        replace(record, **changed)
        if (record.measure, record.cell["recipe"]) == (measure, recipe)
        else record
        for record in read_run(folder).records
    ]
    (folder / RECORDS).write_text("".join(f"{record.to_json()}\n" for record in records))


def test_a_slow_down_since_the_promoted_nights_is_a_drift(output: Path) -> None:
    make(output, range(1, 8), promoted=True)
    make(output, range(8, 16), slower=SLOWER)
    text = said(output)
    assert len(re.findall(r"promoted 202601\d\d: 3 cells timed", text)) == 7
    assert [run for run, _ in RAN.findall(text)] == [f"202601{day:02}" for day in range(8, 16)]
    found = DRIFTS.findall(text)
    assert len({cell for cell, _, _ in found}) == CELLS
    for _, percent, nights in found:
        assert float(percent) == pytest.approx(4, abs=1.5)
        assert int(nights) >= 7
    told = [line.removeprefix("  drifts: ") for line in text.splitlines() if "drifts" in line]
    machine = read_run(output / "20260101").info["machine"]
    other = output / "baselines" / "cpu-other-64-deadbeef" / FILE
    other.parent.mkdir()
    other.write_text('{"schema": 99}')
    assert drifting(output / "baselines", machine, output) == told


def test_a_wanted_speed_up_is_promoted_and_older_slow_runs_are_not_a_drift(output: Path) -> None:
    make(output, range(1, 4), slower=0.3, promoted=True)
    make(output, range(4, 10), slower=0.3)
    faster = {"versions": {"torch": "2.14.0"}}
    make(output, range(10, 14), promoted=True, **faster)
    assert not DRIFTS.findall(said(output))
    make(output, range(14, 18), **faster)
    text = said(output)
    assert "promoted 20260103" not in text
    assert not DRIFTS.findall(text)
    assert [run for run, _ in RAN.findall(text)] == [f"202601{day}" for day in range(14, 18)]


def test_each_cell_has_its_own_newest_promoted_night(output: Path) -> None:
    """A narrowed run that was promoted later does not hide the other cells' nights before it."""
    make(output, range(1, 8), promoted=True)
    slow = make(output, range(8, 16), slower=SLOWER)
    narrowed = make_run(output / "20260116", 1)
    promote(facts_of(read_run(narrowed)), output / "baselines")
    text = said(output)
    assert RAN.findall(text) == [(folder.name, "2") for folder in slow]
    assert len(DRIFTS.findall(text)) == 2


def test_runs_of_other_threads_or_machines_and_damaged_ones_do_not_count(output: Path) -> None:
    make(output, range(1, 8), promoted=True)
    slow = make(output, range(8, 17), slower=SLOWER)
    for folder in slow[:3]:
        change(folder, threads=1)
    for folder in slow[3:6]:
        change(folder, machine={"cpu": "another"})
    (slow[6] / RUN).write_text("{")
    (output / "latest").symlink_to(slow[7].name)
    text = said(output)
    listed = [(folder.name, "0") for folder in slow[:3]]
    assert RAN.findall(text) == listed + [(folder.name, "3") for folder in slow[7:]]
    assert not DRIFTS.findall(text)
    assert f"left out: {slow[6] / RUN} is damaged" in text


def test_failed_cells_do_not_count(output: Path) -> None:
    make(output, range(1, 8), promoted=True)
    for folder in make(output, range(8, 16), slower=SLOWER):
        edit(folder, "memory", "finetune", status="failed", reason="the process crashed")
    assert len(DRIFTS.findall(said(output))) == CELLS - 1


def test_a_night_that_is_red_itself_is_no_drift(output: Path) -> None:
    make(output, range(1, 8), promoted=True)
    make(output, range(8, 16), slower=0.3)
    text = said(output)
    assert re.findall(r"ran \S+: (.*)", text) == ["0 cells timed, 3 regressed"] * 8
    assert not DRIFTS.findall(text)


def test_a_cell_as_fast_as_its_reference_counts_too(output: Path) -> None:
    """Its log ratio is 0.0: that is a figure, not nothing."""
    make(output, range(1, 8), promoted=True)
    timed = {"threads": 2, "log_speedups": [0.0] * 5}
    for folder in make(output, range(8, 11)):
        edit(folder, "latency", "finetune", facts=timed)
    assert [count for _, count in RAN.findall(said(output))] == ["3", "3", "3"]


def test_a_night_that_is_red_of_size_or_crashed_is_listed(output: Path) -> None:
    make(output, range(1, 3), promoted=True)
    fat, crashed = make(output, range(3, 5))
    edit(fat, "size", "finetune", metrics={"size_bytes": Metric(1e9, "B", True)})
    edit(crashed, "memory", "finetune", status="failed", reason="the process crashed")
    assert re.findall(r"ran \S+: (.*)", said(output)) == [
        "3 cells timed, 1 regressed",
        "2 cells timed, 1 missing",
    ]


def test_a_run_that_cannot_be_read_is_left_out(output: Path) -> None:
    make(output, range(1, 3), promoted=True)
    records = make(output, range(3, 5))[0] / RECORDS
    records.unlink()
    records.mkdir()
    assert RAN.findall(said(output)) == [("20260104", "3")]
    assert f"{records}'" in said(output)


def test_where_nothing_was_promoted_it_says_how(output: Path) -> None:
    make(output, range(1, 2))
    with pytest.raises(BaselineError, match=r"no baselines in .*: `leanboard promote RUN --to"):
        said(output)
    assert not list(output.glob(f"**/{FILE}"))
