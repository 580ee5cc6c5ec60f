"""Memory of a fresh process: while loading, when loaded, while predicting, and in all."""

from benchmarks.matrix import Cell
from benchmarks.session import Session


def test_memory(
    leanboard: Session, task: str, model: str, recipe: str, device: str, seed: int
) -> None:
    leanboard.check("memory", Cell(task, model, recipe, device, seed))
