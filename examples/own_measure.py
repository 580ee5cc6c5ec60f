"""A measure of your own: `pytest benchmarks/ examples/own_measure.py --extension examples/own_measure.py`.

Accuracy where every text has a typing error: the file is the extension and has the test of its name.
"""

from pathlib import Path

from benchmarks.matrix import Cell
from benchmarks.measures import MEASURES
from benchmarks.measures.measure import Measure
from benchmarks.session import Session
from models.artifact import Artifact, read_manifest
from models.predictors import load_predictor
from reports.records import OK
from tasks import TASKS

ASKED = 200


def misspelt(text: str) -> str:
    """Exchange the two letters in the middle."""
    middle = len(text) // 2
    return text[: middle - 1] + text[middle - 1 : middle + 1][::-1] + text[middle + 1 :]


class Reader:
    """Lives in a worker process of its own, where a crash fails this cell alone."""

    def __init__(self, folder: str, device: str, threads: int) -> None:
        self.predictor = load_predictor(read_manifest(Path(folder)), device, threads)

    def answers(self, texts: list[str]) -> list[int]:
        return self.predictor.predict(texts).argmax(axis=1).tolist()


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Ask for misspelt test texts, and append what share is answered rightly."""
    examples = TASKS[cell.task].splits()["test"][:ASKED]
    with session.worker(cell, "typos", f"{__name__}:Reader") as worker:
        answers = worker.call("answers", texts=[misspelt(example.text) for example in examples])
    right = sum(answer == e.label for answer, e in zip(answers, examples, strict=True))
    session.append(
        cell, "typos", OK, artifact=artifact, metrics={"typos_accuracy": right / len(examples)}
    )


MEASURES.setdefault("typos", Measure("typos", {"typos_accuracy": ("", False)}, take))


def test_typos(
    leanboard: Session, task: str, model: str, recipe: str, device: str, seed: int
) -> None:
    leanboard.check("typos", Cell(task, model, recipe, device, seed))
