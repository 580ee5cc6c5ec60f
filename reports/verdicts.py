"""Verdicts: what a comparison says of each metric of each cell, and the evidence for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

OK, IMPROVED, REGRESSED, INCOMPARABLE = "ok", "improved", "regressed", "incomparable"
INSUFFICIENT, NEW, MISSING = "insufficient", "new", "missing"
REFERENCE_MOVED, VOID = "reference-moved", "void"
VERDICTS = (
    REGRESSED,
    MISSING,
    VOID,
    REFERENCE_MOVED,
    INCOMPARABLE,
    INSUFFICIENT,
    NEW,
    IMPROVED,
    OK,
)
"""In the order in which they are shown."""
NOT_JUDGED = (VOID, REFERENCE_MOVED, INCOMPARABLE)
"""What says nothing of a latency."""
NOT_GREEN = (REGRESSED, MISSING, *NOT_JUDGED)
"""What a promotion says that it accepted."""
GREEN, RED, NOT_COMPARABLE = "green", "red", "not comparable"
"""What a night is as a whole; or `void`."""
VANISHED = "the baseline has it, the run does not"
FAIL_ON = (REGRESSED, MISSING)
"""What makes a night red unless an option says otherwise."""


@dataclass(frozen=True)
class Verdict:
    """What is said of one metric of one cell."""

    cell: str
    metric: str
    """quality, size, memory or latency; `cell` where there is nothing to compare."""
    verdict: str
    rule: str
    """What decided, in words."""
    baseline: float | None = None
    value: float | None = None
    worse: float | None = None
    """Relative change, positive is worse; of latency, how much slower against the reference."""
    limits: dict[str, float] = field(default_factory=dict)
    samples: str = ""
    detectable: float | None = None
    """The smallest such change that would be found with 95 %."""
    suspect: bool = False
    """A second look was or would have been needed."""


@dataclass(frozen=True)
class Comparison:
    """A run against its baseline."""

    run: dict[str, Any]
    baseline: dict[str, Any]
    changes: list[str]
    verdicts: list[Verdict]
    notes: list[str] = field(default_factory=list)

    def count(self) -> dict[str, int]:
        """Return how often each verdict was given."""
        counts = dict.fromkeys(VERDICTS, 0)
        for verdict in self.verdicts:
            counts[verdict.verdict] += 1
        return {name: count for name, count in counts.items() if count}

    def of(self, cell: str) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.cell == cell]

    def failing(self, fail_on: Sequence[str] = FAIL_ON) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.verdict in fail_on]

    def vanished(self) -> list[str]:
        """Return the cells that the baseline has and the run does not."""
        return [v.cell for v in self.verdicts if (v.metric, v.rule) == ("cell", VANISHED)]

    def undecided(self) -> list[Verdict]:
        """Return the suspects whose second look is lacking, or says nothing."""
        looked = (OK, REGRESSED)
        return [v for v in self.verdicts if v.suspect and v.verdict not in looked]

    def colour(self, fail_on: Sequence[str] = FAIL_ON) -> str:
        """Return red, green, `not comparable`, or void where most latencies could not be judged."""
        status = self.status(fail_on)
        timed = [v.verdict for v in self.verdicts if v.metric == "latency"]
        lost = sum(verdict in NOT_JUDGED for verdict in timed)
        if status == 0 and 2 * lost > len(timed):
            return VOID
        return (GREEN, RED, NOT_COMPARABLE)[status]

    def status(self, fail_on: Sequence[str] = FAIL_ON) -> int:
        """Return the exit status: 0 green, 1 red, 2 where no cell could be compared."""
        if self.failing(fail_on):
            return 1
        compared = {OK, IMPROVED, REGRESSED, INSUFFICIENT, REFERENCE_MOVED, VOID, MISSING}
        return 0 if compared & set(self.count()) else 2
