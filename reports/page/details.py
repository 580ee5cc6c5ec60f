"""What the page says of one row beside its figures, made from the run's records and samples."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reports.leaderboard import REFERENCES, Row, step_of
from reports.records import OK, Record, Run, cell_id, newest

BINS = 24
MOST_CLASSES = 12
"""A larger confusion matrix is not shown."""
MOST_FLIPS = 6
LONGEST_TEXT = 220
BESIDE = ("accuracy", "macro_f1", "f1", "mcc", "spearman", "quality_difference", "mcnemar_p")
"""Scores that stand beside the headline."""

Detail = dict[str, Any]


def details(run: Run, table: Sequence[Row]) -> dict[str, Detail]:
    """Return what is known of each row, by its cell's id; what was not kept is left out."""
    found = newest(run.records)
    truths = {task: _truth(run.folder, task) for task in {row["task"] for row in table}}
    reference_logits: dict[str, np.ndarray | None] = {}
    known = {}
    for row in table:
        name = cell_id(row)
        records = {m: r for m in ("build", "accuracy", "latency") if (r := found.get((name, m)))}
        detail: Detail = _steps(records.get("build")) | _scores(records.get("accuracy"))
        if row["status"] == OK:
            detail |= _latency(run.folder, records.get("latency"))
            if truth := truths[row["task"]]:
                ours = _logits(run.folder, records.get("accuracy"))
                theirs_of = _reference_of(row, found)
                if theirs_of not in reference_logits:
                    record = found.get((theirs_of, "accuracy"))
                    reference_logits[theirs_of] = _logits(run.folder, record)
                detail |= _answers(ours, reference_logits[theirs_of], truth)
        if detail:
            known[name] = detail
    return known


def _reference_of(row: Row, found: dict[tuple[str, str], Record]) -> str:
    ids = [cell_id(row | {"recipe": recipe}) for recipe in REFERENCES]
    return next((name for name in ids if (name, "accuracy") in found), ids[0])


def _steps(build: Record | None) -> Detail:
    if build is None:
        return {}
    lineage = build.facts.get("lineage", [])
    steps = [
        [step_of(step, build.cell["model"]), step.get("seconds"), step.get("peak_bytes")]
        for step in lineage
    ]
    return {"steps": steps} if steps else {}


def _scores(accuracy: Record | None) -> Detail:
    if accuracy is None:
        return {}
    shifted = {
        name.removeprefix("shifted_quality_"): _digits(metric.value)
        for name, metric in accuracy.metrics.items()
        if name.startswith("shifted_quality_")
    }
    beside = {
        name: _digits(accuracy.metrics[name].value)
        for name in BESIDE
        if name in accuracy.metrics and accuracy.metrics[name].value is not None
    }
    parts = {"shifted": shifted, "beside": beside}
    return {name: part for name, part in parts.items() if part}


def _digits(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _samples(folder: Path, record: Record | None, name: str) -> np.ndarray | None:
    """Read one array of a record's samples; None if they were not kept, or are damaged."""
    if record is None or record.samples is None:
        return None
    try:
        with np.load(folder / record.samples, allow_pickle=False) as kept:
            return kept[name]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _latency(folder: Path, record: Record | None) -> Detail:
    """Return the histogram of every timed call of one text, in milliseconds."""
    seconds = _samples(folder, record, "candidate_single")
    if seconds is None or not seconds.size:
        return {}
    ms = 1e3 * seconds.ravel()
    low, high = float(ms.min()), float(np.percentile(ms, 99))
    counts, _ = np.histogram(np.minimum(ms, high), BINS, (low, max(high, low * 1.001)))
    return {"latency": {"from": _digits(low), "to": _digits(high), "counts": counts.tolist()}}


def _logits(folder: Path, record: Record | None) -> np.ndarray | None:
    logits = _samples(folder, record, "test")
    return logits if logits is not None and logits.ndim == 2 else None


def _truth(folder: Path, task: str) -> dict[str, Any] | None:
    """Read the test split as the run has kept it: label names, texts and labels."""
    try:
        kept = json.loads((folder / "samples" / f"{task}.test.json").read_text(encoding="utf-8"))
        return kept if kept["labels"] and kept["examples"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _answers(ours: np.ndarray | None, theirs: np.ndarray | None, truth: dict[str, Any]) -> Detail:
    """Return the confusion matrix, and the examples that flipped against the reference."""
    names, examples = truth["labels"], truth["examples"]
    if ours is None or len(ours) != len(examples) or ours.shape[1] != len(names):
        return {}
    labels = np.array([label for _, label in examples])
    chosen = ours.argmax(axis=1)
    detail: Detail = {}
    if len(names) <= MOST_CLASSES:
        pairs = np.bincount(labels * len(names) + chosen, minlength=len(names) ** 2)
        matrix = pairs.reshape(len(names), len(names)).tolist()
        detail["confusion"] = {"labels": names, "counts": matrix}
    if theirs is not None and theirs.shape == ours.shape:
        other = theirs.argmax(axis=1)
        lost = np.flatnonzero((other == labels) & (chosen != labels))
        gained = np.flatnonzero((other != labels) & (chosen == labels))
        shown = [*lost[: MOST_FLIPS - 2], *gained[: MOST_FLIPS - len(lost[: MOST_FLIPS - 2])]]
        detail["flips"] = {
            "lost": len(lost),
            "gained": len(gained),
            "examples": [
                [_cut(examples[i][0]), names[labels[i]], names[other[i]], names[chosen[i]]]
                for i in shown
            ],
        }
    return detail


def _cut(text: str) -> str:
    one = " ".join(text.replace("\x1e", " ⏐ ").split())
    return one if len(one) <= LONGEST_TEXT else f"{one[:LONGEST_TEXT]}…"
