"""Work of others on the same processors while something was timed: figures are as quiet as the machine."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import psutil

MOMENT = 0.2
"""Seconds of a look: the clock of the processors ticks every hundredth."""
BUSY = 0.2
"""Share of the processors that others may take in such a moment, and nothing is said of it."""


class OtherWork:
    """Adds up what others took of the processors while it watched."""

    def __init__(self) -> None:
        self._taken = self._there = 0.0

    @contextlib.contextmanager
    def watch(self, *workers: int) -> Iterator[None]:
        """Watch for a while; this process and these workers are no others."""
        ours = (os.getpid(), *workers)

        def others() -> float:
            return _busy() - sum(map(_seconds_of, ours))

        started, before = time.monotonic(), others()
        yield
        self._taken += max(0.0, others() - before)
        self._there += (time.monotonic() - started) * (psutil.cpu_count() or 1)

    @property
    def share(self) -> float | None:
        """What others took of all processors, 0 to 1; None if nothing was watched."""
        return round(self._taken / self._there, 3) if self._there else None


def at_once() -> list[str]:
    """Look for a moment, and say if others work on the same processors, before anything is timed."""
    others = OtherWork()
    with others.watch():
        time.sleep(MOMENT)
    if others.share is None or others.share < BUSY:
        return []
    return [
        f"other work takes {others.share:.0%} of the processors now: what is timed beside it may "
        "not be so on a quiet machine"
    ]


def _busy() -> float:
    """Seconds that all processors have worked, for this machine or (`steal`) for another one."""
    times = psutil.cpu_times()
    names = ("user", "nice", "system", "irq", "softirq", "steal")
    return sum(getattr(times, name, 0.0) for name in names)


def _seconds_of(process: int) -> float:
    """Seconds that a process has worked; nothing if somebody killed it, which its worker will tell."""
    try:
        return sum(psutil.Process(process).cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0
