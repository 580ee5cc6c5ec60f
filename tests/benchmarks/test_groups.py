"""Cells that are timed with the same turns of a reference: which they are, and what a failure costs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.matrix import Cell
from benchmarks.measures import latency
from benchmarks.workers import WorkerCrashed
from reports.limits import SECOND

RECIPES = ("finetune", *(f"finetune+{step}" for step in ("bf16", "int8", "onnx", "svd:8", "svd:4")))


def cell(recipe: str, model: str = "tiny-bert") -> Cell:
    return Cell("tiny", model, recipe, "cpu", 0)


REFERENCE, *OTHERS = map(cell, RECIPES)


class Planned:
    """Stands for a session that has the artifacts of all cells but some, and predictions of those."""

    def __init__(self, *broken: Cell, unbuilt: Cell | None = None) -> None:
        cells = [cell("majority", "none"), REFERENCE, *OTHERS, cell("finetune+bf16", "tiny-mpnet")]
        self.planned = {one: ["accuracy", "latency"] for one in cells}
        self.records: dict[tuple[str, str], str] = {}
        self.broken = broken
        self.artifacts = SimpleNamespace(is_there=lambda one: one != unbuilt)
        self.asked: list[Cell] = []

    def record(self, measure: str, one: Cell) -> Any:
        self.asked.append(one)
        return SimpleNamespace(status="failed" if one in self.broken else "ok")

    def log(self, one: Cell, what: str) -> Path:
        return Path(f"{one.id}.{what}.log")

    def failed(self, one: Cell, measure: str, error: WorkerCrashed) -> None:
        self.records[one.id, measure] = str(error)


def neighbours(session: Any, one: Cell) -> list[Cell]:
    return list(latency._neighbours(session, one, one.reference))


def test_the_next_cells_of_the_same_reference_are_timed_together() -> None:
    assert neighbours(Planned(), OTHERS[0]) == OTHERS[1:4]
    assert neighbours(Planned(), OTHERS[3]) == OTHERS[4:]
    assert neighbours(Planned(), REFERENCE) == []
    assert neighbours(Planned(), cell("majority", "none")) == []


def test_what_is_not_built_yet_keeps_nobody_waiting() -> None:
    session = Planned(unbuilt=OTHERS[2])
    assert neighbours(session, OTHERS[0]) == [OTHERS[1], OTHERS[3], OTHERS[4]]
    assert OTHERS[2] not in session.asked


def test_what_has_no_predictions_or_is_timed_already_or_not_asked_for_is_left_out() -> None:
    session = Planned(OTHERS[1])
    session.planned[OTHERS[2]] = ["accuracy"]
    session.records[OTHERS[3].id, "latency"] = "there"
    assert neighbours(session, OTHERS[0]) == [OTHERS[4]]
    assert session.asked == [OTHERS[1], OTHERS[4]]
    assert neighbours(session, cell("finetune+unplanned")) == []


def test_a_second_look_times_few_together_and_a_reference_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[list[Cell], Cell | None]] = []

    def add(session: Any, group: latency.Group, reference: Cell | None, measure: str) -> None:
        seen.append((list(group), reference))
        group.clear()  # as if all had failed: there is nothing to keep

    monkeypatch.setattr(latency, "_add_pair", add)
    other = cell("finetune+bf16", "tiny-mpnet")
    session: Any = SimpleNamespace(alone=nullcontext)
    latency.look_again(session, [REFERENCE, *OTHERS, other])
    expected = [
        ([REFERENCE], REFERENCE),
        (OTHERS[:4], REFERENCE),
        (OTHERS[4:], REFERENCE),
        ([other], other.reference),
    ]
    assert seen[: len(expected)] == expected
    assert len(seen) == SECOND * len(expected)


@pytest.mark.parametrize(
    ("log_of", "failed"),
    [(OTHERS[1], OTHERS[1]), (REFERENCE, OTHERS[0])],
    ids=["cell", "reference"],
)
def test_a_failure_costs_one_row(
    log_of: Cell, failed: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    session: Any = Planned()
    tries: list[list[Cell]] = []

    def fresh(session: Any, group: latency.Group, *_: object) -> list[str]:
        tries.append(list(group))
        if len(tries) == 1:
            raise WorkerCrashed("killed by SIGKILL", session.log(log_of, "latency"))
        return ["pair"] * len(group)

    monkeypatch.setattr(latency, "_fresh_pairs", fresh)
    group: Any = {one: [] for one in OTHERS[:3]}
    latency._add_pair(session, group, REFERENCE, "latency")
    rest = [one for one in OTHERS[:3] if one != failed]
    assert tries == [OTHERS[:3], rest]
    assert group == {one: ["pair"] for one in rest}
    assert session.records == {(failed.id, "latency"): "killed by SIGKILL"}
