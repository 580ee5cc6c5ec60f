"""Several runs in one table: mean and spread over seeds, machine by machine."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tabulate import tabulate

from reports.leaderboard import REFERENCES, Row, rows
from reports.records import OK, Run

FIGURES = (
    ("quality", "quality", "{:.3f}", 1.0),
    ("quality_retained", "kept %", "{:.1f}", 100.0),
    ("shifted_quality", "shifted", "{:.3f}", 1.0),
    ("size_bytes", "MB", "{:.1f}", 1e-6),
    ("memory_inference_peak_bytes", "RAM MB", "{:.0f}", 1e-6),
    ("latency_single_p50_ms", "p50 ms", "{:.2f}", 1.0),
    ("speedup", "faster x", "{:.2f}", 1.0),
)
"""Field, header, how it shows, and the factor before it is shown."""


class Spread(NamedTuple):
    """A figure over the seeds."""

    mean: float
    deviation: float | None
    """Standard deviation, n - 1; None of a single one."""


@dataclass(frozen=True)
class Merged:
    """One recipe of one model on one machine, over all its seeds."""

    machine: str
    task: str
    model: str
    recipe: str
    device: str
    seeds: tuple[int, ...]
    """One a run: a seed that several runs measured stands several times."""
    failed: int
    """Rows that have no figures."""
    figures: dict[str, Spread]


def merge(runs: Sequence[Run]) -> list[Merged]:
    """Merge the rows of runs; a seed that was measured in several of them counts each time.

    Figures of different machines, thread counts or test splits are never mixed.
    """
    groups: dict[tuple[tuple[str, str, str, str, str], str | None], list[Row]] = defaultdict(list)
    for run in runs:
        tests = _tests(run)
        for row in rows(run):
            machine = _machine(run.info.get("machine", {}), row["threads"])
            cell = (machine, row["task"], row["model"], row["device"], row["recipe"])
            groups[cell, tests.get(row["task"])].append(row)
    return [_merged(*cell, group) for (cell, _), group in groups.items()]


def _tests(run: Run) -> dict[str, str]:
    """Return the hash of each task's test split."""
    return {
        str(record.cell["task"]): record.facts["test_sha256"]
        for record in run.records
        if "test_sha256" in record.facts
    }


def _machine(machine: dict[str, Any], threads: int | None) -> str:
    parts = [machine.get("cpu") or "unknown machine"]
    if cores := machine.get("logical_cores"):
        parts.append(f"{cores} cores")
    if memory := machine.get("memory_bytes"):
        parts.append(f"{memory / 2**30:.0f} GiB")
    if threads:
        parts.append(f"{threads} threads")
    return ", ".join(parts)


def _merged(
    machine: str, task: str, model: str, device: str, recipe: str, group: list[Row]
) -> Merged:
    good = [row for row in group if row["status"] == OK]
    figures = {}
    for field, *_ in FIGURES:
        values = [row[field] for row in good if row[field] is not None]
        if values:
            deviation = statistics.stdev(values) if len(values) > 1 else None
            figures[field] = Spread(statistics.fmean(values), deviation)
    seeds = tuple(sorted(row["seed"] for row in good))
    return Merged(machine, task, model, recipe, device, seeds, len(group) - len(good), figures)


def table(merged: Sequence[Merged]) -> str:
    """Return the merged rows as Markdown, a table for each machine, task, model and device."""
    groups: dict[tuple[str, ...], list[Merged]] = defaultdict(list)
    for row in merged:
        groups[row.machine, row.task, row.model, row.device].append(row)
    headers = ["recipe", "seeds", "runs", *(header for _, header, _, _ in FIGURES)]
    parts = []
    for (machine, task, model, device), group in groups.items():
        group.sort(key=_order)
        lines = [
            [r.recipe, _seeds(r), len(r.seeds), *(_shown(r, *figure) for figure in FIGURES)]
            for r in group
        ]
        align = ("left", *["right"] * (len(headers) - 1))
        text = tabulate(lines, headers, "pipe", disable_numparse=True, colalign=align)
        parts.append(f"## {task} · {model} · {device} · {machine}\n\n{text}")
    return "\n\n".join(parts)


def _order(row: Merged) -> tuple[bool, float]:
    speedup = row.figures.get("speedup")
    return row.recipe not in REFERENCES, -speedup.mean if speedup else 0.0


def _seeds(row: Merged) -> str:
    return f"{len(set(row.seeds))}{f' ({row.failed} without figures)' if row.failed else ''}"


def _shown(row: Merged, field: str, header: str, shape: str, factor: float) -> str:
    if field not in row.figures:
        return "-"
    mean, deviation = row.figures[field]
    spread = "" if deviation is None else f" ± {shape.format(deviation * factor)}"
    return shape.format(mean * factor) + spread
