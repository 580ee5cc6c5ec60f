"""Bytes of every file that prediction needs, and what is in them."""

from benchmarks.matrix import Cell
from benchmarks.session import Session


def test_size(
    leanboard: Session, task: str, model: str, recipe: str, device: str, seed: int
) -> None:
    leanboard.check("size", Cell(task, model, recipe, device, seed))
