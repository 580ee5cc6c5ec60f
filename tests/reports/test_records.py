"""Records survive whatever happens to the file's end, and nothing else."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.records import (
    RECORDS,
    Metric,
    Record,
    RecordError,
    append,
    find_run,
    newest,
    read,
    read_run,
    replacing,
    write_atomically,
)

CELL = {"task": "t", "model": "m", "recipe": "finetune", "device": "cpu", "seed": 0}


def record(
    measure: str = "size", value: float | str | None = 1.5, reason: str | None = None
) -> Record:
    return Record(
        "run", CELL, measure, "ok", reason, "abc", {"size_bytes": Metric(value, "B", True)}
    )


@given(st.text(), st.one_of(st.none(), st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_record_comes_back_as_it_went(reason: str, value: float | str | None) -> None:
    one = replace(record(reason=reason), metrics={"words": Metric(value, "", None)})
    assert Record.from_json(one.to_json()) == one
    assert "\n" not in one.to_json()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"metrics": {"size_bytes": Metric("big", "B", True)}}, "metrics"),
        ({"facts": {"log_speedups": None}}, "facts"),
        ({"facts": {"log_speedups": ["a"]}}, "facts"),
        ({"facts": {"log_speedups": [1e308]}}, "facts"),
        ({"facts": {"later_log_reference_work": [float("nan")]}}, "facts"),
    ],
)
def test_what_nights_are_compared_by_is_numbers(changed: dict[str, Any], says: str) -> None:
    with pytest.raises(RecordError, match=f"no record: {says}"):
        Record.from_json(json.dumps(asdict(replace(record(), **changed))))


def test_what_is_not_a_number_is_null() -> None:
    assert (
        json.loads(record(value=float("nan")).to_json())["metrics"]["size_bytes"]["value"] is None
    )


@given(st.data())
def test_a_cut_costs_at_most_the_last_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("run")
    for measure in ("size", "memory", "latency"):
        append(folder, record(measure))
    whole = (folder / RECORDS).read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    (folder / RECORDS).write_bytes(whole[:cut])
    append(folder, record("accuracy"))
    records, _ = read(folder)
    found = [r.measure for r in records]
    complete = (
        whole[: cut + 1].count(b"\n") if whole[cut : cut + 1] == b"\n" else whole[:cut].count(b"\n")
    )
    assert found == [*["size", "memory", "latency"][:complete], "accuracy"]


def test_an_edited_line_is_an_error_with_its_number(tmp_path: Path) -> None:
    append(tmp_path, record())
    with (tmp_path / RECORDS).open("a") as file:
        file.write('{"schema": 1}\n')
    with pytest.raises(RecordError, match=r"records\.jsonl, line 2: no record"):
        read(tmp_path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    (tmp_path / RECORDS).write_text(record().to_json().replace('"schema": 1', '"schema": 2') + "\n")
    with pytest.raises(RecordError, match="upgrade Leanboard"):
        read(tmp_path)


def test_the_newest_record_counts() -> None:
    assert (
        newest([record(value=1), record(value=2)])[record().cell_id, "size"]
        .metrics["size_bytes"]
        .value
        == 2
    )


def test_finding_a_run(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "run.json").write_text('{"schema": 1}')
    assert find_run("one", tmp_path) == (tmp_path / "one").resolve()
    with pytest.raises(RecordError, match=r"no run 'two'; runs in .*: one"):
        find_run("two", tmp_path)
    (tmp_path / "one" / "run.json").write_text("{")
    with pytest.raises(RecordError, match="is damaged"):
        read_run(tmp_path / "one")


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for left in (f".run.json.{dead.pid}", f".run.json.{os.getppid()}", ".run.json.html"):
        (tmp_path / left).write_text("half")
    write_atomically(tmp_path / "run.json", "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f".run.json.{os.getppid()}",
        ".run.json.html",
        "run.json",
    ]


def test_who_fails_to_write_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "labels.npz").write_text("old")
    with contextlib.suppress(OSError), replacing(tmp_path / "labels.npz") as unfinished:
        unfinished.write_text("ne")
        raise OSError("the disk is full")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.npz"]
    assert (tmp_path / "labels.npz").read_text() == "old"
