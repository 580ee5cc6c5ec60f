"""The second look of a night: who is timed again, and what is kept of it. The pairs are drawn here."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import gate, machine
from benchmarks.matrix import Cell
from benchmarks.measures import MEASURES, latency
from benchmarks.measures.turns import Pair
from benchmarks.options import Options
from benchmarks.session import Session
from benchmarks.workers import WorkerCrashed
from reports import night as night_report
from reports.baselines import BaselineError, promote
from reports.facts import LATER, facts_of
from reports.limits import SECOND
from reports.records import Metric, Record, append, read_run
from reports.verdicts import FAIL_ON

CELLS = [Cell("tiny", "tiny-bert", f"finetune+{step}", "cpu", 0) for step in ("bf16", "int8")]
WORK = 2.0


def drawn(slower: float) -> Pair:
    """Return a pair twice as fast as its reference, but for a factor."""
    reference = {"single": np.full((12, 4), 8e-3), "batch": np.full((1, 2), 0.1)}
    candidate = {name: slower / 2 * seconds for name, seconds in reference.items()}
    return Pair(candidate, reference, np.full(2, np.exp(WORK) / 8e-3))  # type: ignore[arg-type]


def taking(cell: Cell, megabytes: float) -> Record:
    metrics = {"memory_inference_peak_bytes": Metric(1e6 * megabytes, "B", True)}
    return Record("run", cell.to_json(), "memory", "ok", None, "a" * 64, metrics)


def written(output: Path, slower: dict[Cell, float], megabytes: float = 100) -> Path:
    """Write a run whose latency alone was planned; the memory of its cells is there too."""
    folder = output / "run"
    (folder / "samples").mkdir(parents=True)
    planned = {cell.id: ["latency"] for cell in CELLS}
    info = {
        "schema": 1,
        "run": "run",
        "profile": "smoke",
        "threads": 1,
        "machine": machine.describe(),
        "versions": machine.versions(),
        "planned": planned,
    }
    (folder / "run.json").write_text(json.dumps(info))
    (output / "latest").symlink_to("run")
    for cell in CELLS:
        facts: dict[str, Any] = latency.rounds_of([drawn(slower.get(cell, 1.0))] * 5)
        metrics = {"speedup": Metric(2.0, "x", False)}
        facts["threads"] = 1
        append(
            folder,
            Record("run", cell.to_json(), "latency", "ok", None, "a" * 64, metrics, facts=facts),
        )
        append(folder, taking(cell, megabytes))
    return folder


def night(tmp_path: Path, slower: dict[Cell, float], megabytes: float = 100) -> Session:
    """Resume a run against a healthy baseline."""
    healthy = facts_of(read_run(written(tmp_path / "before", {})))
    promote(healthy, tmp_path / "baselines")
    written(tmp_path / "after", slower, megabytes)
    options = Options.check(
        output=tmp_path / "after",
        threads=1,
        resume=True,
        timeout=60.0,
        extension_files=[],
        profile="smoke",
        against=tmp_path / "baselines",
        partial=False,
        fail_on=",".join(FAIL_ON),
    )
    session = Session(options, {cell: ["latency"] for cell in CELLS}, lambda line: None)
    for cell in CELLS:
        session.artifacts.known[cell] = SimpleNamespace(sha256="a" * 64)  # type: ignore[assignment]
    return session


@pytest.mark.parametrize(("later", "verdict"), [(1.1, "regressed"), (1.0, "ok")])
def test_a_suspect_is_timed_again_and_judged_by_the_new_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: float, verdict: str
) -> None:
    taken: list[Cell] = []

    def fresh(session: Session, group: latency.Group, *_: object) -> list[Pair]:
        taken.extend(group)
        return [drawn(later)] * len(group)

    monkeypatch.setattr(latency, "_fresh_pairs", fresh)
    session = night(tmp_path, {CELLS[0]: 1.1})
    found = gate.judge(session)
    session.close()
    assert taken == [CELLS[0]] * 10
    judged = {v.cell: v for v in found.verdicts}
    assert judged[CELLS[0].id].verdict == verdict
    assert judged[CELLS[0].id].samples == "5 pairs against 1 nights, 10 later"
    assert judged[CELLS[1].id].verdict == "ok"
    with np.load(next(session.folder.glob("samples/*bf16*.later.npz"))) as samples:
        assert samples["candidate_single"].shape == (10, 12, 4)


@pytest.mark.parametrize(("at_last", "verdict"), [(1.0, "regressed"), (1.2, "reference-moved")])
def test_a_second_look_whose_reference_had_moved_is_taken_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_last: float, verdict: str
) -> None:
    taken: list[Cell] = []

    def fresh(session: Session, group: latency.Group, *_: object) -> list[Pair]:
        taken.extend(group)
        pair = drawn(1.1)
        moved = 1.2 if len(taken) <= SECOND else at_last
        return [replace(pair, matmul_gflops=pair.matmul_gflops * moved)] * len(group)

    monkeypatch.setattr(latency, "_fresh_pairs", fresh)
    session = night(tmp_path, {CELLS[0]: 1.1})
    found = gate.judge(session)
    session.close()
    assert taken == [CELLS[0]] * 2 * SECOND
    assert {v.cell: v.verdict for v in found.verdicts}[CELLS[0].id] == verdict
    said = night_report.terminal(found)
    assert ("green, 1 suspect not judged" in said) == (verdict != "regressed")
    if verdict != "regressed":
        assert "a slow-down of" in said  # of the other cell


def test_a_suspect_that_crashes_in_the_second_look_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crashes(session: Session, *_: object) -> list[Pair]:
        raise WorkerCrashed("the process crashed: killed by SIGABRT", session.folder / "log")

    monkeypatch.setattr(latency, "_fresh_pairs", crashes)
    session = night(tmp_path, {CELLS[0]: 1.1})
    found = gate.judge(session)
    session.close()
    assert [(v.cell, v.verdict) for v in found.failing()] == [(CELLS[0].id, "missing")]
    assert "SIGABRT" in found.failing()[0].rule


@pytest.mark.parametrize(("later", "verdict"), [(105, "regressed"), (101, "ok")])
def test_memory_that_grew_is_measured_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: float, verdict: str
) -> None:
    taken: list[Cell] = []

    def take(session: Session, cell: Cell, artifact: object) -> None:
        taken.append(cell)
        append(session.folder, taking(cell, later))
        session.records[cell.id, "memory"] = taking(cell, later)

    monkeypatch.setitem(MEASURES, "memory", replace(MEASURES["memory"], take=take))
    session = night(tmp_path, {}, megabytes=105)
    found = gate.judge(session)
    session.close()
    assert taken == CELLS
    assert {v.verdict for v in found.verdicts if v.metric == "memory"} == {verdict}


def looked_again(session: Session, status: str, slower: float = 1.1) -> None:
    """Append what a second look left before the run was resumed."""
    pairs = latency.rounds_of([drawn(slower)] * 10) if status == "ok" else {}
    facts = {f"later_{name.removeprefix('pair_')}": kept for name, kept in pairs.items()}
    cell = CELLS[0].to_json()
    append(session.folder, Record("run", cell, LATER, status, None, "a" * 64, facts=facts))


def test_a_red_night_is_not_drawn_again_until_it_is_green(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_fresh_pairs", None)  # to call it is an error
    session = night(tmp_path, {CELLS[0]: 1.1}, megabytes=105)
    looked_again(session, "ok")
    for cell in CELLS:
        append(session.folder, taking(cell, 105))
    found = gate.judge(session)
    session.close()
    failing = {(v.cell, v.metric): v.verdict for v in found.failing()}
    assert failing == {
        (CELLS[0].id, "latency"): "regressed",
        (CELLS[0].id, "memory"): "regressed",
        (CELLS[1].id, "memory"): "regressed",
    }


def test_a_second_look_that_crashed_is_taken_again_when_the_run_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "_fresh_pairs", lambda *_: [drawn(1.0)])
    session = night(tmp_path, {CELLS[0]: 1.1})
    looked_again(session, "failed")
    found = gate.judge(session)
    session.close()
    judged = {v.cell: v for v in found.verdicts}
    assert (judged[CELLS[0].id].verdict, found.failing()) == ("ok", [])


def test_a_night_that_cannot_be_judged_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def judge(session: Session) -> None:
        tried.append(session)
        raise BaselineError("cut")

    monkeypatch.setattr(gate, "judge", judge)
    session = night(tmp_path, {})
    with pytest.raises(BaselineError):
        session.check_verdict(CELLS[0].id)
    with pytest.raises(pytest.fail.Exception, match="was not judged: BaselineError: cut"):
        session.check_verdict(CELLS[1].id)
    session.close()
    assert len(tried) == 1
