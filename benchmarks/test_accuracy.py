"""Quality on the whole test split and on the shifted ones, with per-example predictions kept."""

from benchmarks.matrix import Cell
from benchmarks.session import Session


def test_accuracy(
    leanboard: Session, task: str, model: str, recipe: str, device: str, seed: int
) -> None:
    leanboard.check("accuracy", Cell(task, model, recipe, device, seed))
