"""This process's memory as the kernel counts it: now, and at its peak since the last reset."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
M_MMAP_THRESHOLD = -3
FIRST_THRESHOLD, LARGEST_THRESHOLD = 128 << 10, 32 << 20
"""Bytes from which glibc maps a block of its own: where it starts, and how far it may go (mallopt(3))."""


class Resident(NamedTuple):
    """Resident bytes: all, those of files mapped to memory, and the rest."""

    total: int
    file: int
    anonymous: int


def _field(name: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(name)


def is_exact() -> bool:
    """Say whether the kernel can reset and tell the peak (Linux); elsewhere psutil stands in."""
    return CLEAR_REFS.exists()


def reset_peak() -> None:
    """Start a new phase: the peak counts from what is resident now."""
    if is_exact():
        CLEAR_REFS.write_text("5")


@contextmanager
def returning_freed_memory() -> Iterator[None]:
    """Have glibc return every large block to the kernel when it is freed, as it does at first.

    Left to itself it learns from the first such block to keep the next ones, and what it keeps
    depends on how threads happen to interleave: MiniLM in PyTorch peaked at 139 to 150 MB in four
    runs, and at 133.0 to 133.3 MB in this way.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if is_exact() else None
    if mallopt:
        mallopt(M_MMAP_THRESHOLD, FIRST_THRESHOLD)
    try:
        yield
    finally:
        if mallopt:
            mallopt(M_MMAP_THRESHOLD, LARGEST_THRESHOLD)


def peak_bytes() -> int:
    """Return the highest resident size since `reset_peak`; off Linux the size now, which is coarser."""
    return _field("VmHWM") if is_exact() else psutil.Process().memory_info().rss


def resident() -> Resident:
    """Return what is resident now."""
    if not is_exact():
        rss = psutil.Process().memory_info().rss
        return Resident(rss, 0, rss)
    return Resident(_field("VmRSS"), _field("RssFile") + _field("RssShmem"), _field("RssAnon"))
