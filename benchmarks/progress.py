"""What a run is doing, how far it is, and how long is left."""

from __future__ import annotations

import os
import time
from typing import TextIO


class Progress:
    """On a terminal one line that is rewritten; elsewhere a line what takes long, and a finished cell."""

    def __init__(self, cells: int, stream: TextIO | None = None) -> None:
        # pytest redirects the descriptor while a test runs; a duplicate made before stays.
        self.stream = stream or os.fdopen(os.dup(2), "w")
        self.cells = cells
        self.done = 0
        self.telling = 0
        self.started = time.monotonic()
        self._live = self.stream.isatty()
        self._last = 0.0

    def begins(self, what: str) -> None:
        """Tell of what takes minutes where `doing` shows nothing."""
        if not self._live:
            self.stream.write(f"{self.counter()} {what}\n")
            self.stream.flush()

    def doing(self, what: str, fraction: float | None = None) -> None:
        """Show the work in hand (terminal only, at most ten times a second)."""
        now = time.monotonic()
        if not self._live or (fraction and now - self._last < 0.1):
            return
        self._last = now
        share = f" {fraction:.0%}" if fraction else ""
        self.stream.write(f"\r\x1b[K{self.counter()} {what}{share}"[:110])
        self.stream.flush()

    def finished(self, line: str, tells: bool = True) -> str:
        """Count a finished cell, and return its line with the time that is left.

        Args:
            tells: how long it took says how long others take; not of a control, nor of a kept one.
        """
        self.done += 1
        self.telling += tells
        if self._live:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
        return f"{self.counter()} {line}  {self.left()}".rstrip()

    def counter(self) -> str:
        width = len(str(self.cells))
        return f"[{self.done:>{width}}/{self.cells}]"

    def left(self) -> str:
        """Estimate from the mean time of the finished cells that tell."""
        spent = time.monotonic() - self.started
        if self.done == self.cells:
            return f"({spent:.0f} s in all)"
        if not self.telling:
            return ""
        remaining = spent / self.telling * (self.cells - self.done)
        return (
            f"(~{remaining / 60:.0f} min left)" if remaining > 90 else f"(~{remaining:.0f} s left)"
        )
