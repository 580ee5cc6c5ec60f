"""The end of a night: judge it, measure again what was disturbed or suspect, and judge again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from benchmarks.measures.latency import look_again
from reports.comparison import against
from reports.facts import LATER, facts_of
from reports.limits import SECOND
from reports.records import OK, Record, newest, read_run
from reports.verdicts import REFERENCE_MOVED, REGRESSED, VOID, Comparison

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

LATENCY, MEMORY = "latency", "memory"
SECOND_LOOKS = 2
"""A second look that other work disturbed, or whose reference had moved, is taken once more."""


def judge(session: Session) -> Comparison:
    """Compare the run with its baseline, once every planned measure has its record.

    What was measured again before the run was resumed has had its second chance.
    """
    for cell, measures in session.planned.items():
        for measure in measures:
            session.record(measure, cell)
    records = read_run(session.folder).records
    taken = Counter((record.cell_id, record.measure) for record in records if record.status == OK)
    last = newest(records)
    crashed = [cell for cell in session.planned if _is_bad(last.get((cell.id, LATER)))]
    if crashed and session.options.resume:
        look_again(session, crashed)
        taken.update((cell.id, LATER) for cell in crashed)

    def again(measure: str, names: list[str]) -> list[Cell]:
        return [c for c in session.planned if c.id in names and taken[c.id, measure] == 1]

    comparison = _compare(session)
    larger = [v.cell for v in comparison.verdicts if (v.metric, v.verdict) == (MEMORY, REGRESSED)]
    if cells := again(MEMORY, larger):
        session.show(f"leanboard: measuring the memory of {len(cells)} cells again")
        session.measure_again(MEMORY, cells)
        comparison = _compare(session)
    verdicts = comparison.verdicts
    disturbed = [v.cell for v in verdicts if v.verdict in (VOID, REFERENCE_MOVED) and not v.suspect]
    if cells := again(LATENCY, disturbed):
        session.show(f"leanboard: timing {len(cells)} cells again: their rounds were disturbed")
        session.measure_again(LATENCY, cells)
        comparison = _compare(session)
    for looks in range(SECOND_LOOKS):
        open_ones = comparison.undecided() if looks else comparison.verdicts
        suspects = [v.cell for v in open_ones if v.suspect]
        cells = [c for c in session.planned if c.id in suspects and taken[c.id, LATER] == looks]
        if cells:
            session.show(f"leanboard: {len(cells)} suspects, timing {SECOND} new pairs of each")
            look_again(session, cells)
            taken.update((cell.id, LATER) for cell in cells)
            comparison = _compare(session)
    return comparison


def _is_bad(record: Record | None) -> bool:
    return record is not None and record.status != OK


def _compare(session: Session) -> Comparison:
    options = session.options
    assert options.against is not None
    return against(options.against, facts_of(read_run(session.folder)), options.partial)
