"""A clock that advances by what a worker measured: how durations reach pytest-benchmark."""

from __future__ import annotations

_now = 0.0


def now() -> float:
    """The time in seconds: pytest-benchmark's timer."""
    return _now


def advance(seconds: float) -> None:
    """Let a measured call pass."""
    global _now
    _now += seconds
