"""What other dashboards read: each file has the shape that its documentation gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reports.dashboards import FILES, export
from reports.records import Metric, Record, Run

CELL = {"task": "t", "model": "m", "recipe": "finetune", "device": "cpu", "seed": 0}
VALUES: dict[str, dict[str, float | str]] = {
    "accuracy": {
        "quality_metric": "accuracy",
        "quality": 0.86,
        "quality_low": 0.85,
        "quality_high": 0.88,
    },
    "size": {"size_bytes": 1000},
    "latency": {"latency_single_p50_ms": 8.0, "speedup": 2.0, "throughput_per_s": 100.0},
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Any]:
    records = [
        Record(
            "run",
            CELL,
            measure,
            "ok",
            artifact_sha256="a" * 64,
            metrics={name: Metric(value, "", None) for name, value in values.items()},
        )
        for measure, values in VALUES.items()
    ]
    broken = Record("run", CELL | {"recipe": "finetune+int8"}, "size", "failed", "because")
    planned = {record.cell_id: list(VALUES) for record in (*records, broken)}
    paths = export(Run(tmp_path, {"run": "run", "planned": planned}, [*records, broken]))
    assert [path.name for path in paths] == list(FILES)
    return {path.name: json.loads(path.read_text()) for path in paths}


def test_bencher_metric_format(files: dict[str, Any]) -> None:
    """bencher.dev/bmf.json: objects of objects of numbers; `value` is required."""
    found = files["bencher.json"]
    assert list(found) == ["t/m/finetune/cpu/s0"]
    for measures in found.values():
        for title, metric in measures.items():
            assert len(title) <= 64
            assert "value" in metric
            assert set(metric) <= {"value", "lower_value", "upper_value"}
            assert all(isinstance(number, int | float) for number in metric.values())
    measures = found["t/m/finetune/cpu/s0"]
    assert measures["latency"] == {"value": 8e6}  # its own measure, in nanoseconds
    assert measures["quality"] == {"value": 0.86, "lower_value": 0.85, "upper_value": 0.88}
    assert measures["size"] == {"value": 1000}


def test_github_action_benchmark(files: dict[str, Any]) -> None:
    """Lists of name, unit and value, with an optional range and extra; one list a direction."""
    smaller, bigger = files["custom-smaller-is-better.json"], files["custom-bigger-is-better.json"]
    for entry in (*smaller, *bigger):
        assert (
            {"name", "unit", "value"} <= set(entry) <= {"name", "unit", "value", "range", "extra"}
        )
        assert isinstance(entry["value"], int | float)
        assert all(isinstance(entry[key], str) for key in set(entry) - {"value"})
    titles = [entry["name"].split()[1] for entry in smaller]
    assert titles == ["latency", "size"]
    assert [entry["name"].split()[1] for entry in bigger] == ["throughput", "speedup", "quality"]
    quality = bigger[-1]
    assert (quality["unit"], quality["range"]) == ("accuracy", "± 0.015")
