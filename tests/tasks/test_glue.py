"""GLUE by name: its columns, classes and metrics, read from the hub's own cache."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.measures.accuracy import score
from reports.statistics import f1
from tasks.glue import GLUE, REPOSITORY
from tasks.own import OwnData, declare, from_json, to_json
from tasks.tables import DataError
from tasks.task import PAIR


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache as it is after a download, and no network; returns the snapshot's folder."""
    repository = tmp_path / f"datasets--{REPOSITORY.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    return snapshot


def write(snapshot: Path, name: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    """Write a task of the benchmark as the hub keeps it: a Parquet file a split, classes by number."""
    from datasets import ClassLabel, Dataset

    labels = GLUE[f"glue/{name}"].labels
    (snapshot / name).mkdir()
    for split, split_rows in rows.items():
        data = Dataset.from_list(split_rows)
        if labels:
            data = data.cast_column("label", ClassLabel(names=list(labels)))
        data.to_parquet(snapshot / name / f"{split}-00000-of-00001.parquet")


def pairs(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"sentence1": f"first {i}", "sentence2": f"second {i}", "label": i % 2, "idx": i}
        for i in range(start, start + count)
    ]


def test_a_task_of_pairs_has_the_benchmarks_columns_classes_and_metric(hub: Path) -> None:
    hidden = [row | {"label": -1} for row in pairs(9, 900)]
    write(hub, "mrpc", {"train": pairs(60), "validation": pairs(20, 100), "test": hidden})
    task, _ = declare(OwnData("glue/mrpc"))
    assert (task.name, task.metric, task.pairs) == ("mrpc", "f1", True)
    assert task.labels == ("not_equivalent", "equivalent")
    assert task.sizes["test"] == 20  # the validation split: nobody has the labels of the other
    assert {e.text for e in task.splits()["test"]} >= {f"first 100{PAIR}second 100"}
    again = from_json(json.loads(json.dumps(to_json(task))))
    assert again.splits() == task.splits()
    assert again.pairs


def test_the_benchmarks_own_name_is_enough_and_its_test_stays_whole(hub: Path) -> None:
    twice = [*pairs(20, 100), *pairs(2, 100)]
    write(hub, "mrpc", {"train": [*pairs(60), *pairs(3, 100)], "validation": twice})
    task, said = declare(OwnData("mrpc"))
    assert (task.name, task.metric) == ("mrpc", "f1")
    assert task.sizes["test"] == 22
    assert any("3 texts of train stand in test too" in line for line in said)
    assert (task.source, task.licence) == ("hub id glue/mrpc", "see its page on the hub")


def test_other_domains_are_shifted_splits_and_values_are_regression(hub: Path) -> None:
    def texts(start: int) -> list[dict[str, Any]]:
        return [
            {"premise": f"p {i}", "hypothesis": f"h {i}", "label": i % 3}
            for i in range(start, start + 30)
        ]

    splits = {"train": texts(0), "validation_matched": texts(50)}
    write(hub, "mnli", splits | {"validation_mismatched": texts(100)})
    task, _ = declare(OwnData("glue/mnli"))
    assert (task.shifted, task.metric) == (("mismatched",), "accuracy")
    assert task.sizes["mismatched"] == 30
    values = [row | {"label": row["idx"] / 10} for row in pairs(60)]
    write(hub, "stsb", {"train": values[:40], "validation": values[40:]})
    task, _ = declare(OwnData("glue/stsb"))
    assert (task.kind, task.metric, task.labels) == ("regression", "pearson", ())


def test_the_headline_is_scored_as_the_benchmark_does(hub: Path, tmp_path: Path) -> None:
    """F1 of the second class, with an interval, accuracy and Matthews' correlation beside it."""
    from sklearn.metrics import f1_score, matthews_corrcoef

    write(hub, "mrpc", {"train": pairs(60), "validation": pairs(40, 100)})
    task, _ = declare(OwnData("glue/mrpc"))
    random = np.random.default_rng(0)
    logits = random.normal(size=(40, 2)).astype(np.float32)
    np.savez(tmp_path / "p.npz", test=logits)
    test = {"test": task.splits()["test"]}
    found = score(task, test, tmp_path / "p.npz", tmp_path / "p.npz")
    truth, chosen = np.array([e.label for e in test["test"]]), logits.argmax(axis=1)
    assert found["quality_metric"] == "f1"
    assert found["quality"] == found["f1"] == pytest.approx(f1_score(truth, chosen))
    assert found["mcc"] == pytest.approx(matthews_corrcoef(truth, chosen))
    assert found["quality_low"] < found["quality"] < found["quality_high"]
    assert found["quality_difference"] == 0
    assert f1(np.zeros(3, int), np.zeros(3, int)) == 0


def test_without_a_network_one_line_says_so(hub: Path) -> None:
    shutil.rmtree(hub.parents[1])
    with pytest.raises(DataError, match=r"nyu-mll/glue: .*the hub gives no data set"):
        declare(OwnData("glue/rte"))


@pytest.mark.parametrize("name", ["glue/mprc", "mrcp"])
def test_a_name_that_is_nearly_one_of_them_is_named(name: str) -> None:
    with pytest.raises(DataError, match="did you mean glue/mrpc"):
        declare(OwnData(name))


def test_a_data_set_of_somebody_else_is_asked_for_all_the_same(hub: Path) -> None:
    with pytest.raises(DataError, match=r"someone/sst2: .*the hub gives no data set"):
        declare(OwnData("someone/sst2"))


def test_every_task_is_complete() -> None:
    metrics = {"accuracy", "f1", "mcc", "pearson"}
    for name, benchmark in GLUE.items():
        assert benchmark.metric in metrics, name
        assert bool(benchmark.labels) == (benchmark.metric != "pearson"), name
