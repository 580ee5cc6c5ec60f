"""What a measure is: a name, the unit and direction of each of its metrics, and how it is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session
    from models.artifact import Artifact

Metrics = dict[str, tuple[str, bool | None]]
"""Unit of each metric, and whether lower is better (None: neither)."""


class NotMeasured(Exception):
    """A cell cannot be measured; status and reason go into its record."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def after(cells: Iterable[Cell], cell: Cell) -> list[Cell]:
    """Return the cells that come after one; none if it is not among them."""
    ordered = list(cells)
    return ordered[ordered.index(cell) + 1 :] if cell in ordered else []


@dataclass(frozen=True)
class Measure:
    """One of the things that a leaderboard says of an artifact."""

    name: str
    metrics: Metrics
    take: Callable[[Session, Cell, Artifact], None]
    """Measures one cell and appends what it found with `session.append`; an exception becomes a
    failed record."""
