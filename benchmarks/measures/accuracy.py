"""Quality from the kept predictions of whole splits: the score, its interval, and what transfers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measures import memory
from benchmarks.measures.measure import Measure, Metrics
from benchmarks.measures.requests import VALIDATION, Requests, evaluated
from reports import statistics
from reports.facts import Answers
from reports.records import OK, write_arrays, write_atomically
from tasks import TASKS
from tasks.task import Example, Task

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session
    from models.artifact import Artifact
from models.cascade import parts_of

METRICS: Metrics = {
    "quality_metric": ("", None),
    "quality": ("", False),
    "quality_low": ("", False),
    "quality_high": ("", False),
    "validation_quality": ("", False),
    "agreement": ("", False),
    "quality_difference": ("", False),
    "quality_difference_low": ("", False),
    "quality_difference_high": ("", False),
    "mcnemar_p": ("", None),
    "accuracy": ("", False),
    "macro_f1": ("", False),
    "f1": ("", False),
    "mcc": ("", False),
    "spearman": ("", False),
    "calibration_error": ("", True),
    "shifted_quality": ("", False),
}
"""Unit, and whether lower is better; `shifted_quality_NAME` is as `shifted_quality`."""

SCORES = {
    "macro_f1": statistics.macro_f1,
    "f1": statistics.f1,
    "mcc": statistics.matthews,
}
"""Scores of chosen classes and true ones, beside accuracy."""


TIMED_APART = 0.25
"""Allowed distance of timed logits from scored ones, in standard deviations of the latter."""
ROUNDING = 0.02


class BadPredictions(RuntimeError):
    """Predictions that no score can be made from."""


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Score the cell's predictions, which are made when its memory is measured."""
    predictions = session.predictions(cell)
    if not predictions.exists():
        memory.take(session, cell, artifact)
    task, reference = TASKS[cell.task], cell.reference
    theirs = session.predictions(reference) if reference else None
    if reference and reference != cell and session.record("accuracy", reference).status != OK:
        theirs = None
    splits = evaluated(task, session.options.profile)
    with session.account.spend("scoring"):
        metrics = score(task, splits, predictions, theirs)
        # Of a cascade's texts near its bound either answer is right, and rounding chooses.
        middle = np.median if parts_of(artifact) else np.mean
        check_timed(session.requests(cell), splits["test"], predictions, middle)
    keep_labels(splits, session.labels(cell))
    _keep_truth(task, splits["test"], predictions.with_name(f"{task.name}.test.json"))
    session.append(
        cell,
        "accuracy",
        OK,
        artifact=artifact,
        metrics=metrics,
        samples=predictions,
        facts={
            "test_sha256": identity(splits["test"]),
            "test_answers": answers(task, splits, predictions).to_json(),
        },
    )


def check_timed(
    requests: Requests,
    test: list[Example],
    predictions: Path,
    middle: Callable[[np.ndarray], Any] = np.mean,
) -> None:
    """Compare what is answered when it is timed with what is scored: the same texts of the test split.

    Rounding differs with the batch, and so do the ranges that dynamic quantization sees: by 0.12 of
    the logits' own spread at most, over a hundred predictions of `movies`.

    Args:
        middle: of the squared differences of all texts.

    Raises:
        BadPredictions: what is fast is not what is right.
    """
    row = {example.text: index for index, example in enumerate(test)}
    with np.load(predictions) as kept:
        scored = kept["test"]
        spread = float(scored.std(axis=0).mean())
        for kind, texts in requests._asdict().items():
            off = kept[f"request_{kind}"] - scored[[row[text] for text in texts]]
            rms = float(np.sqrt(middle(off**2)))
            if not rms <= max(TIMED_APART * spread, ROUNDING):
                raise BadPredictions(
                    f"the logits of the texts timed as '{kind}' are {rms:.2g} from those that are "
                    f"scored (allowed: {TIMED_APART} of their spread, {spread:.2g})"
                )


def answers(task: Task, splits: dict[str, list[Example]], predictions: Path) -> Answers:
    """Return what each test example contributes to the cell's quality."""
    logits = _logits(predictions, {"test": splits["test"]})["test"]
    labels = np.array([example.label for example in splits["test"]])
    if task.kind == "regression":
        return Answers.of_correlation(logits[:, 0], labels)
    chosen = logits.argmax(axis=1)
    if task.metric in SCORES:
        return Answers.of_metric(SCORES[task.metric], chosen, labels)
    return Answers.of_right(chosen == labels)


def keep_labels(splits: dict[str, list[Example]], target: Path) -> None:
    """Write the truth beside the predictions, so that every score can be made again."""
    if not target.exists():
        labels = {name: [example.label for example in split] for name, split in splits.items()}
        write_arrays(target, {name: np.array(truth) for name, truth in labels.items()})


def identity(examples: list[Example]) -> str:
    """Return the sha256 of texts and labels: two nights are compared only on the same ones."""
    data = json.dumps([(example.text, example.label) for example in examples])
    return hashlib.sha256(data.encode()).hexdigest()


def _keep_truth(task: Task, examples: list[Example], target: Path) -> None:
    """Write what the predictions are compared with, once a run: label names, texts and labels."""
    if not target.exists():
        kept = {"labels": task.labels, "examples": examples}
        write_atomically(target, json.dumps(kept, ensure_ascii=False))


def score(
    task: Task, splits: dict[str, list[Example]], predictions: Path, reference: Path | None
) -> dict[str, Any]:
    """Make the metrics of one cell from its npz of logits, and the reference's.

    Raises:
        BadPredictions: logits are missing or not finite.
    """
    logits = _logits(predictions, splits)
    labels = {name: np.array([e.label for e in examples]) for name, examples in splits.items()}
    main = _quality(task, logits["test"], labels["test"])
    metrics: dict[str, Any] = {
        "quality_metric": task.metric,
        "quality": main.value,
        "quality_low": main.low,
        "quality_high": main.high,
    }
    if VALIDATION in splits:
        chosen_by = _quality(task, logits[VALIDATION], labels[VALIDATION], 1)
        metrics["validation_quality"] = chosen_by.value
    shifted = {name: _quality(task, logits[name], labels[name], 1).value for name in task.shifted}
    if shifted:
        metrics["shifted_quality"] = float(np.mean(list(shifted.values())))
        metrics |= {f"shifted_quality_{name}": value for name, value in shifted.items()}
    if task.kind == "regression":
        metrics["spearman"] = statistics.spearman(logits["test"][:, 0], labels["test"])
    else:
        chosen = logits["test"].argmax(axis=1)
        metrics["accuracy"] = float((chosen == labels["test"]).mean())
        metrics |= {
            name: by(chosen, labels["test"])
            for name, by in SCORES.items()
            if name != "f1" or len(task.labels) == 2
        }
        metrics["calibration_error"] = statistics.calibration_error(logits["test"], labels["test"])
    if reference:
        theirs = _logits(reference, {"test": splits["test"]})["test"]
        metrics |= _against_reference(task, logits["test"], theirs, labels["test"])
    return metrics


def _logits(path: Path, splits: dict[str, list[Example]]) -> dict[str, np.ndarray]:
    with np.load(path) as kept:
        logits = {name: kept[name] for name in splits}
    for name, values in logits.items():
        if len(values) != len(splits[name]):
            raise BadPredictions(f"{len(values)} predictions for {len(splits[name])} {name} texts")
        if bad := int((~np.isfinite(values)).any(axis=1).sum()):
            raise BadPredictions(
                f"{bad} of {len(values)} {name} texts got logits that are NaN or infinite"
            )
    return logits


def _quality(
    task: Task, logits: np.ndarray, labels: np.ndarray, resamples: int = statistics.RESAMPLES
) -> statistics.Interval:
    if task.kind == "regression":
        return statistics.bootstrap(statistics.pearson, logits[:, 0], labels, resamples=resamples)
    chosen = logits.argmax(axis=1)
    if task.metric in SCORES:
        return statistics.bootstrap(SCORES[task.metric], chosen, labels, resamples=resamples)
    return statistics.accuracy(chosen == labels)


def _against_reference(
    task: Task, ours: np.ndarray, theirs: np.ndarray, labels: np.ndarray
) -> dict[str, Any]:
    """Paired with the reference: agreement (correlation for regression), difference, its interval."""
    if task.kind == "regression":

        def difference(mine: np.ndarray, other: np.ndarray, truth: np.ndarray) -> float:
            return statistics.pearson(mine, truth) - statistics.pearson(other, truth)

        gap = statistics.bootstrap(difference, ours[:, 0], theirs[:, 0], labels)
        extra = {"agreement": statistics.pearson(ours[:, 0], theirs[:, 0])}
    else:
        mine, other = ours.argmax(axis=1), theirs.argmax(axis=1)
        gap, p = statistics.accuracy_difference(mine == labels, other == labels)
        if by := SCORES.get(task.metric):
            gap = statistics.bootstrap(
                lambda mine, other, truth: by(mine, truth) - by(other, truth),
                mine,
                other,
                labels,
            )
        extra = {"agreement": float((mine == other).mean()), "mcnemar_p": p}
    return extra | {
        "quality_difference": gap.value,
        "quality_difference_low": gap.low,
        "quality_difference_high": gap.high,
    }


ACCURACY = Measure("accuracy", METRICS, take)
