"""Where a run's wall time went: the work, and what the harness adds to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

WORK = (
    "downloading",
    "waiting for another run",
    "building",
    "starting workers",
    "loading",
    "predicting",
    "timing",
)
"""What a run is for. Everything else is the harness's own: verifying, scoring, reading sizes, the rest."""


class Account:
    """Seconds by kind; what no kind claims is `other`."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.seconds: dict[str, float] = {}
        self._inside = False

    @contextmanager
    def spend(self, kind: str) -> Iterator[None]:
        """Count the time inside as `kind`; the outermost kind counts."""
        if self._inside:
            yield
            return
        self._inside = True
        started = time.monotonic()
        try:
            yield
        finally:
            self._inside = False
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.monotonic() - started

    def to_json(self) -> dict[str, float]:
        """Return seconds by kind, with `other` and `wall`."""
        wall = time.monotonic() - self.started
        found = {kind: round(seconds, 2) for kind, seconds in self.seconds.items()}
        other = round(wall - sum(self.seconds.values()), 2)
        return found | {"other": other, "wall": round(wall, 2)}

    def __str__(self) -> str:
        total = self.to_json()
        wall = total.pop("wall")
        parts = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in total.items())
        harness = sum(seconds for kind, seconds in total.items() if kind not in WORK)
        return f"{wall:.0f} s: {parts} ({harness / max(wall, 1e-9):.1%} harness)"
