"""A run for other people's dashboards: Bencher, and github-action-benchmark.

pytest-benchmark's own file carries every figure in `extra_info`, but the dashboards read only its
times. Bencher's BMF is {benchmark: {measure: {value, lower_value, upper_value}}};
github-action-benchmark takes two lists of {name, unit, value, range, extra}, one for each direction.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reports.leaderboard import Row, rows, why_not
from reports.records import OK, SKIPPED, UNSUPPORTED, Run, cell_id, write_atomically


@dataclass(frozen=True)
class Measure:
    """One figure of a row, as a dashboard wants it."""

    title: str
    """Bencher's name of the measure; `latency` is one of its own, in nanoseconds."""
    field: str
    unit: str
    scale: float
    smaller_is_better: bool
    low: str | None = None
    high: str | None = None


MEASURES = (
    Measure("latency", "latency_single_p50_ms", "ns", 1e6, True, high="latency_single_p95_ms"),
    Measure("batch-latency", "latency_batch_p50_ms", "ns", 1e6, True),
    Measure("throughput", "throughput_per_s", "texts/s", 1, False),
    Measure("speedup", "speedup", "x", 1, False, "speedup_low", "speedup_high"),
    Measure("quality", "quality", "", 1, False, "quality_low", "quality_high"),
    Measure("shifted-quality", "shifted_quality", "", 1, False),
    Measure("size", "size_bytes", "bytes", 1, True),
    Measure("memory", "memory_inference_peak_bytes", "bytes", 1, True),
    Measure("process-memory", "memory_process_peak_bytes", "bytes", 1, True),
)


def bencher(table: list[Row]) -> dict[str, dict[str, dict[str, float]]]:
    """Return Bencher Metric Format; its adapter is called `json`."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in table:
        for measure in MEASURES:
            if row["status"] == OK and row[measure.field] is not None:
                bounds = {"value": measure.field, "lower_value": measure.low}
                bounds["upper_value"] = measure.high
                found.setdefault(cell_id(row), {})[measure.title] = {
                    name: row[field] * measure.scale
                    for name, field in bounds.items()
                    if field and row[field] is not None
                }
    return found


def action_benchmark(table: list[Row], smaller_is_better: bool) -> list[dict[str, Any]]:
    """Return the entries of `customSmallerIsBetter` or of `customBiggerIsBetter`."""
    return [
        _entry(row, measure)
        for row in table
        for measure in MEASURES
        if row["status"] == OK
        and measure.smaller_is_better == smaller_is_better
        and row[measure.field] is not None
    ]


def _entry(row: Row, measure: Measure) -> dict[str, Any]:
    value = row[measure.field] * measure.scale
    entry = {
        "name": f"{cell_id(row)} {measure.title}",
        "unit": measure.unit or str(row["quality_metric"] or "1"),
        "value": value,
        "extra": f"artifact {row['artifact_sha256']}",
    }
    low, high = (row[field] if field else None for field in (measure.low, measure.high))
    if low is not None and high is not None:
        entry["range"] = f"± {(high - low) / 2 * measure.scale:.4g}"
    return entry


FILES: dict[str, Callable[[list[Row]], Any]] = {
    "bencher.json": bencher,
    "custom-smaller-is-better.json": lambda table: action_benchmark(table, True),
    "custom-bigger-is-better.json": lambda table: action_benchmark(table, False),
}


def export(run: Run) -> list[Path]:
    """Write every dashboard's file into the run's folder, and return their paths."""
    table = rows(run)
    paths = []
    for name, make in FILES.items():
        path = run.folder / name
        write_atomically(path, json.dumps(make(table), indent=1, allow_nan=False))
        paths.append(path)
    return paths


def left_out(run: Run) -> list[str]:
    """Name the cells that failed: a dashboard knows no such row, there its series ends."""
    return [
        f"{cell_id(row)}: {why_not(row)}"
        for row in rows(run)
        if row["status"] not in (OK, UNSUPPORTED, SKIPPED)
    ]
