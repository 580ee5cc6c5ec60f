"""Runs of several seeds and machines in one table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.command import main
from reports.merging import merge, table
from reports.records import Run, read_run
from tests.reports.made import make_run
from tests.reports.test_leaderboard import records, run


def on(machine: str, *found: Run) -> list[Run]:
    return [replace(one, info=one.info | {"machine": {"cpu": machine}}) for one in found]


def test_a_figure_is_the_mean_over_seeds_with_its_spread() -> None:
    seeds = [
        run(records("finetune", 0.80 + 0.02 * seed, 100, 1.0, seed=seed)) for seed in (0, 1, 2)
    ]
    (merged,) = merge(on("one", *seeds))
    assert merged.seeds == (0, 1, 2)
    assert merged.figures["quality"].mean == pytest.approx(0.82)
    assert merged.figures["quality"].deviation == pytest.approx(0.02)
    assert "| 3 | 0.820 ± 0.020 | 100.0 ± 0.0 |" in " ".join(table([merged]).split())


def test_machines_are_not_mixed() -> None:
    fast, slow = (run(records("finetune", 0.8, 100, speed)) for speed in (2.0, 1.0))
    merged = merge([*on("fast", fast), *on("slow", slow)])
    assert [row.machine for row in merged] == ["fast", "slow"]
    assert [row.figures["speedup"].deviation for row in merged] == [None, None]


def test_hosts_of_one_processor_and_other_test_texts_are_not_mixed() -> None:
    one = run(records("finetune", 0.8, 100, 1.0))
    small, large = (
        replace(one, info=one.info | {"machine": {"cpu": "a cpu", "memory_bytes": size << 30}})
        for size in (8, 64)
    )
    other = replace(
        small, records=[replace(r, facts=r.facts | {"test_sha256": "other"}) for r in small.records]
    )
    merged = merge([small, large, other, small])
    assert [row.machine for row in merged] == ["a cpu, 8 GiB", "a cpu, 64 GiB", "a cpu, 8 GiB"]
    assert [len(row.seeds) for row in merged] == [2, 1, 1]


def test_rows_without_figures_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "made", 4)
    found = {row.recipe: row for row in merge([read_run(folder)])}
    assert found["finetune+fp8"].failed == 1
    assert main(["merge", str(folder), str(folder)]) == 0
    assert "0 (1 without figures)" in capsys.readouterr().out
