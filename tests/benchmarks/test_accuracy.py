"""Quality from predictions: what is scored, and on which split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.measures.accuracy import BadPredictions, check_timed, score
from benchmarks.measures.requests import Requests, evaluated
from benchmarks.profiles import PROFILES
from tasks import TASKS
from tasks.task import Example

TASK = TASKS["movies"]


def split(labels: list[int]) -> list[Example]:
    return [Example(f"text {i}", label) for i, label in enumerate(labels)]


def logits(labels: list[int]) -> np.ndarray:
    """Logits that choose these labels, float32 [n, 2]."""
    return np.eye(2, dtype=np.float32)[labels]


def test_validation_is_scored_where_rows_are_chosen_by_it(tmp_path: Path) -> None:
    assert "validation" in evaluated(TASK, PROFILES["full"])
    quick = evaluated(TASK, PROFILES["quick"])
    assert quick.keys() == {"test", *TASK.shifted}
    assert [len(quick[name]) for name in TASK.shifted] == [500] * 3
    splits = {"test": split([0, 1, 1, 0]), "validation": split([1, 1])}
    splits |= {name: split([0]) for name in TASK.shifted}
    said = {"test": [0, 1, 1, 1], "validation": [1, 0], "amazon": [0], "tweets": [0], "nyt": [1]}
    np.savez(tmp_path / "ours.npz", **{name: logits(given) for name, given in said.items()})
    found = score(TASK, splits, tmp_path / "ours.npz", tmp_path / "ours.npz")
    assert found["quality"] == 0.75
    assert found["validation_quality"] == 0.5
    assert found["shifted_quality"] == pytest.approx(2 / 3)
    assert found["agreement"] == 1.0
    assert found["quality_difference"] == 0.0


@pytest.mark.parametrize(
    ("bad", "says"),
    [(np.full((4, 2), np.nan, np.float32), "NaN"), (np.zeros((3, 2), np.float32), "3 predictions")],
)
def test_bad_predictions_have_no_score(bad: np.ndarray, says: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "ours.npz", test=bad, **{name: logits([0]) for name in TASK.shifted})
    splits = {"test": split([0, 1, 1, 0])} | {name: split([0]) for name in TASK.shifted}
    with pytest.raises(BadPredictions, match=says):
        score(TASK, splits, tmp_path / "ours.npz", None)


@pytest.mark.parametrize("kind", ["single", "batch"])
def test_what_is_timed_is_what_is_scored(kind: str, tmp_path: Path) -> None:
    test = split([0, 1, 1, 0])
    requests = Requests(single=["text 2", "text 0"], batch=["text 0", "text 1", "text 2"])
    said = {"test": logits([0, 1, 1, 1]), "request_single": logits([1, 0])}
    said["request_batch"] = logits([0, 1, 1]) + np.float32(0.05)  # as dynamic ranges move them
    np.savez(tmp_path / "ours.npz", **said)
    check_timed(requests, test, tmp_path / "ours.npz")
    said[f"request_{kind}"] = np.zeros_like(said[f"request_{kind}"])
    np.savez(tmp_path / "ours.npz", **said)
    with pytest.raises(BadPredictions, match=f"timed as '{kind}'"):
        check_timed(requests, test, tmp_path / "ours.npz")
