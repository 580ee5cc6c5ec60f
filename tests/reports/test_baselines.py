"""Baselines hold what was promoted, whatever happens to the file."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reports import baselines
from reports.baselines import BaselineError, fingerprint, promote, read
from reports.comparison import against, compare, refuse_if_not_green
from reports.facts import Answers, CellFacts, RunFacts
from reports.statistics import pearson
from tests.conftest import ROOT
from tests.reports.nights import MACHINE, RIGHT, facts, history, name, night, run

HERE = fingerprint(MACHINE, "cpu")


def file_in(folder: Path) -> Path:
    return folder / HERE / baselines.FILE


def test_what_was_promoted_comes_back(tmp_path: Path) -> None:
    cells = {name(0): facts(), name(1): facts(answers=None, pairs=(), work=())}
    said = promote(run(cells), tmp_path)
    assert said[0].endswith("a new baseline")
    back = read(file_in(tmp_path))
    assert back.cells == cells
    assert back.nights[name(0)][0].pairs == (0.7,) * 5
    assert back.nights[name(1)] == ()
    again = back.cells[name(0)].answers
    assert again
    assert (again.values() == RIGHT).all()


def test_the_answers_of_a_regression_have_the_spread_of_its_correlation() -> None:
    """The influence function's standard error is that of r: (1 - r^2) / sqrt(n) for normals."""
    random = np.random.default_rng(0)
    truth = random.normal(size=2000)
    predicted = truth + random.normal(size=2000)
    kept = Answers.of_correlation(predicted, truth)
    r = pearson(predicted, truth)
    assert kept.values().mean() == pytest.approx(r, abs=1e-3)
    error = kept.values().std() / np.sqrt(2000)
    assert error == pytest.approx((1 - r**2) / np.sqrt(2000), rel=0.1)


def test_a_promotion_says_what_it_replaces(tmp_path: Path) -> None:
    promote(run({name(0): facts()}), tmp_path)
    metrics = facts().metrics | {"size_bytes": 2_000_000, "speedup": 2.5}
    bigger = facts(metrics=metrics, artifact_sha256="b" * 64)
    said = promote(run({name(0): bigger, name(1): facts()}, 1), tmp_path)
    assert "replaces that of night-000 (1 cell)" in said[0]
    changed = "size_bytes 1,000,000 -> 2,000,000, speedup 2.01 -> 2.5, another artifact"
    assert f"{name(0)}: {changed}" in said
    assert f"{name(1)}: new" in said


def test_the_history_is_bounded_and_begins_anew_at_another_speed(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(baselines.KEPT_NIGHTS + 3):
        promote(night(random, 1, number), tmp_path)
    kept = read(file_in(tmp_path)).nights[name(0)]
    assert [n.run for n in kept] == [f"night-{n:03d}" for n in range(3, baselines.KEPT_NIGHTS + 3)]
    slow = night(random, 1, 98, slower=0.3)
    promote(slow, tmp_path)
    assert len(read(file_in(tmp_path)).nights[name(0)]) == baselines.KEPT_NIGHTS
    said = promote(run(slow.cells, 99, versions={"torch": "2.14"}), tmp_path)
    assert f"{name(0)}: its speed has another level: its history begins anew" in said
    assert len(read(file_in(tmp_path)).nights[name(0)]) == 1


def test_nights_of_another_hour_widen_the_limits_once_they_are_accepted(tmp_path: Path) -> None:
    """A shared machine without its neighbours: the reference is 10 % faster, the candidate is not."""
    random = np.random.default_rng(0)

    def quiet(number: int) -> RunFacts:
        cells = night(random, 1, number, slower=0.1).cells
        return run({n: replace(c, work=(1.9,) * 5) for n, c in cells.items()}, number)

    for number in range(10):
        promote(night(random, 1, number), tmp_path)
    promote(quiet(10), tmp_path)
    assert len(read(file_in(tmp_path)).nights[name(0)]) == 10  # moved, and not accepted
    assert compare(read(file_in(tmp_path)), quiet(11)).colour() == "void"
    for number in range(11, 15):
        promote(quiet(number), tmp_path, allow_failed=True)
    both = read(file_in(tmp_path))
    assert len(both.nights[name(0)]) == 14
    for usual in (quiet(15), night(random, 1, 16)):
        assert compare(both, usual).colour() == "green"


def test_a_suspect_whose_second_look_had_moved_enters_no_history(tmp_path: Path) -> None:
    promote(run({name(0): facts()}), tmp_path)
    slow = facts(pairs=(0.55,) * 5, later=(0.55,) * 10, later_work=(2.1,) * 10)
    promote(run({name(0): slow}, 1), tmp_path)
    assert [n.run for n in read(file_in(tmp_path)).nights[name(0)]] == ["night-000"]


def test_a_run_that_was_narrowed_to_some_measures_is_refused(tmp_path: Path) -> None:
    promote(run({name(0): facts()}), tmp_path)
    narrow = facts(metrics={"quality_metric": "accuracy", "quality": 0.86})
    found = against(tmp_path, run({name(0): narrow}, 1))
    with pytest.raises(BaselineError, match=r"finetune\+0/cpu/s0 size: the baseline has it, the"):
        refuse_if_not_green(found)
    promote(run({name(0): narrow}, 1), tmp_path, allow_failed=True)
    again = {
        v.metric: v.verdict
        for v in compare(read(file_in(tmp_path)), run({name(0): facts()})).verdicts
    }
    assert (again["size"], again["memory"]) == ("new", "new")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    file_in(tmp_path).mkdir(parents=True)
    with pytest.raises(BaselineError, match=r"baseline\.json cannot be read: Is a directory"):
        read(file_in(tmp_path))


def test_failed_cells_are_refused_unless_told(tmp_path: Path) -> None:
    broken = run({name(0): facts(), name(1): CellFacts("failed", "memory: the process crashed")})
    with pytest.raises(
        BaselineError, match=r"a failed cell: .*finetune\+1.* crashed.*--allow-failed"
    ):
        promote(broken, tmp_path)
    assert not file_in(tmp_path).exists()
    promote(broken, tmp_path, allow_failed=True)
    assert list(read(file_in(tmp_path)).cells) == [name(0)]


def test_cells_that_a_run_lacks_stay_unless_they_are_pruned(tmp_path: Path) -> None:
    promote(run({name(0): facts(), name(1): facts()}), tmp_path)
    promote(run({name(0): facts()}, 1), tmp_path)
    assert set(read(file_in(tmp_path)).cells) == {name(0), name(1)}
    said = promote(run({name(0): facts()}, 2), tmp_path, forget={name(1)})
    assert said[-1] == f"{name(1)}: gone"
    kept = read(file_in(tmp_path))
    assert set(kept.cells) == set(kept.nights) == {name(0)}


def test_a_disturbed_cell_does_not_enter_the_history(tmp_path: Path) -> None:
    promote(run({name(0): facts()}), tmp_path)
    void = facts(pairs=(0.1, 0.2, 0.7, 0.7, 0.9), work=(2.1, 2.2, 2.0, 1.8, 2.4))
    promote(run({name(0): void}, 1), tmp_path)
    assert [n.run for n in read(file_in(tmp_path)).nights[name(0)]] == ["night-000"]


def test_an_accepted_second_look_is_kept_with_its_own_reference(tmp_path: Path) -> None:
    promote(run({name(0): facts()}), tmp_path)
    again = facts(later=(0.69,) * 10, later_work=(2.2,) * 10)
    promote(run({name(0): again}, 1), tmp_path, allow_failed=True)
    assert [n.work for n in read(file_in(tmp_path)).nights[name(0)]] == [2.0, 2.2]


def test_a_disturbed_night_of_other_threads_leaves_no_history(tmp_path: Path) -> None:
    promote(run({name(0): facts()}), tmp_path)
    void = facts(pairs=(0.1, 0.2, 0.7, 0.7, 0.9), work=(2.1, 2.2, 2.0, 1.8, 2.4), threads=1)
    promote(run({name(0): void}, 1), tmp_path, allow_failed=True)
    assert not read(file_in(tmp_path)).nights[name(0)]


def test_another_machine_has_another_file_and_a_new_driver_has_not() -> None:
    assert fingerprint(MACHINE | {"logical_cores": 4}, "cpu") != HERE
    assert fingerprint(MACHINE | {"gpu": "H100, 550.1", "system": "Linux-7"}, "cpu") == HERE
    driver = [fingerprint(MACHINE | {"gpu": f"H100, {version}"}, "cuda") for version in (550, 560)]
    assert driver[0] == driver[1] != HERE


def damaged(whole: str, how: str) -> str:
    data: dict[str, Any] = json.loads(whole)
    if how == "cut":
        return whole[: len(whole) // 2]
    if how == "edited":
        return whole.replace("1000000", "900000")
    if how == "newer":
        return json.dumps(data | {"schema": 99})
    if how == "other":
        return json.dumps({"schema": 1, "cells": []})
    return ""


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("cut", "is cut or damaged"),
        ("edited", "was edited by hand"),
        ("newer", "schema 99 is newer than 3: upgrade Leanboard"),
        ("other", "is no baseline"),
        ("empty", "is empty"),
    ],
)
def test_a_damaged_file_is_named_and_never_used(tmp_path: Path, how: str, says: str) -> None:
    promote(run({name(0): facts()}), tmp_path)
    path = file_in(tmp_path)
    path.write_text(text := damaged(path.read_text(), how))
    with pytest.raises(BaselineError, match=says) as error:
        read(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(BaselineError):
        promote(run({name(0): facts()}, 1), tmp_path)
    assert path.read_text() == text


@pytest.mark.parametrize("schema", [1, 2])
def test_an_older_schema_is_migrated_in_memory(tmp_path: Path, schema: int) -> None:
    """The pairs of both were of other blocks: their nights are forgotten, all else is kept."""
    promote(run({name(0): facts()}), tmp_path)
    path = file_in(tmp_path)
    data = json.loads(path.read_text()) | {"schema": schema}
    del data["sha256"]
    path.write_text(before := json.dumps(data | {"sha256": baselines._digest(data)}))
    found = read(path)
    assert (found.nights[name(0)], found.cells[name(0)].pairs) == ((), ())
    assert found.cells[name(0)].answers == facts().answers
    assert path.read_text() == before
    judged = {v.metric: v.verdict for v in compare(found, run({name(0): facts()}, 1)).verdicts}
    assert (judged["latency"], judged["quality"], judged["size"]) == ("new", "ok", "ok")


def test_a_hundred_cells_are_under_a_megabyte_and_a_night_is_a_line(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    path = file_in(tmp_path)
    path.parent.mkdir()
    path.write_text(baselines.to_text(history(random, 100, baselines.KEPT_NIGHTS)))
    whole = path.read_text()
    assert len(whole) < 1_000_000  # issue 6
    promote(night(random, 100, 50), tmp_path)
    before, after = set(whole.splitlines()), set(path.read_text().splitlines())
    added = [line for line in after - before if '"night-050": [' in line]
    assert len(added) == 100


def test_promotions_at_once_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom reports.baselines import promote\n"
        "from tests.reports.nights import facts, name, run\n"
        "n = int(sys.argv[1])\n"
        "for i in range(5):\n    promote(run({name(n): facts()}, 10 * n + i), Path(sys.argv[2]))"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code, str(n), str(tmp_path)], cwd=ROOT)
        for n in range(4)
    ]
    assert [process.wait(60) for process in started] == [0] * 4
    kept = read(file_in(tmp_path))
    assert [len(kept.nights[name(n)]) for n in range(4)] == [5] * 4
