"""The end of a night: judge it, measure again what was disturbed or suspect, and judge again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.measures.latency import look_again
from reports.comparison import against
from reports.facts import facts_of
from reports.limits import SECOND
from reports.records import OK, read_run
from reports.verdicts import REFERENCE_MOVED, REGRESSED, VOID, Comparison

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

LATENCY, MEMORY = "latency", "memory"


def judge(session: Session) -> Comparison:
    """Compare the run with its baseline, once every planned measure has its record."""
    for cell, measures in session.planned.items():
        for measure in measures:
            session.record(measure, cell)
    comparison = _compare(session)
    larger = [v.cell for v in comparison.verdicts if (v.metric, v.verdict) == (MEMORY, REGRESSED)]
    if cells := _cells(session, larger, MEMORY):
        session.show(f"leanboard: measuring the memory of {len(cells)} cells again")
        for cell in cells:
            session.measure_again(MEMORY, cell)
        comparison = _compare(session)
    disturbed = [v.cell for v in comparison.verdicts if v.verdict in (VOID, REFERENCE_MOVED)]
    if cells := _cells(session, disturbed):
        session.show(f"leanboard: timing {len(cells)} cells again: their rounds were disturbed")
        session.references.close()
        for cell in cells:
            session.measure_again(LATENCY, cell)
        comparison = _compare(session)
    if cells := _cells(session, [v.cell for v in comparison.verdicts if v.suspect]):
        session.show(f"leanboard: {len(cells)} suspects, timing {SECOND} new pairs of each")
        look_again(session, cells)
        comparison = _compare(session)
    return comparison


def _cells(session: Session, names: list[str], measure: str = LATENCY) -> list[Cell]:
    return [
        cell
        for cell in session.planned
        if cell.id in names and session.record(measure, cell).status == OK
    ]


def _compare(session: Session) -> Comparison:
    options = session.options
    assert options.against is not None
    return against(options.against, facts_of(read_run(session.folder)), options.partial)
