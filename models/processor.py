"""What the processor is called: figures and choices that belong to it are kept under its name."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_info(field: str) -> str | None:
    """Return a field of the first processor in /proc/cpuinfo; None where there is none."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), None)


def cpu_flags() -> set[str]:
    """Return what the processor's instruction sets are called in /proc/cpuinfo (on ARM: features)."""
    return set((cpu_info("flags") or cpu_info("Features") or "").split())


def processor() -> str:
    """Return the model name of the processor."""
    return cpu_info("model name") or platform.processor() or platform.machine()
