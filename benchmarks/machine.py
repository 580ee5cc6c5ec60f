"""The machine and the libraries that a run's figures belong to: small functions, one flat dict."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from models.processor import cpu_flags, processor

INSTRUCTIONS = [
    "avx2",
    "avx512f",
    "avx_vnni",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "sve",
    "i8mm",
    "bf16",
]
"""Instruction sets that decide which kernels run."""
LIBRARIES = [
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "datasets",
    "accelerate",
    "torchao",
    "numpy",
    "scikit-learn",
    "scipy",
    "pytest",
    "pytest-benchmark",
    "leanboard",
]

DISTRIBUTIONS = {"sklearn": "scikit-learn"}
"""Modules that the distribution which brings them names otherwise."""


def _instructions() -> list[str]:
    flags = cpu_flags()
    return [name for name in INSTRUCTIONS if name in flags]


def _governor() -> str | None:
    path = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return path.read_text().strip() if path.exists() else None


def _container_memory() -> int | None:
    path = Path("/sys/fs/cgroup/memory.max")
    text = path.read_text().strip() if path.exists() else "max"
    return int(text) if text.isdigit() else None


def _command(*words: str) -> str | None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


FACTS: dict[str, Callable[[], Any]] = {
    "cpu": processor,
    "instructions": _instructions,
    "cores": lambda: psutil.cpu_count(logical=False),
    "logical_cores": psutil.cpu_count,
    "memory_bytes": lambda: psutil.virtual_memory().total,
    "container_memory_bytes": _container_memory,
    "governor": _governor,
    "load": lambda: round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
    "system": platform.platform,
    "python": platform.python_version,
    "gpu": lambda: _command(
        "nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"
    ),
    "git_commit": lambda: _command("git", "rev-parse", "HEAD"),
}
"""Every fact of the description, by its name."""


def describe() -> dict[str, Any]:
    """Return a flat description of the machine."""
    return {name: fact() for name, fact in FACTS.items()}


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed, without importing them."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def default_threads() -> int:
    """One thread a physical core that this process, and its container, may use."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = psutil.cpu_count(logical=False) or 1
    return max(1, min(cores, usable or 1, _container_cores() or cores))


def _container_cores(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Return the whole cores of a container's quota of processor time; None without one."""
    quota, _, period = (file.read_text().strip() if file.exists() else "max").partition(" ")
    return max(1, int(quota) // int(period)) if quota.isdigit() else None


def cpu_of(pair: int, threads: int) -> int | None:
    """Return the processor that a pair of one thread stays on; None: of several, and where none can be chosen.

    The processors of a shared machine differ, and a stopped process wakes up where it was: the two
    of a pair would each keep their own.
    """
    if threads > 1 or not hasattr(os, "sched_getaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[pair % len(allowed)]


def stay_on(cpu: int | None) -> None:
    """Keep this process, and the threads that it starts, on one processor; None: leave it as it is."""
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})


def matmul_gflops(size: int = 384, repeats: int = 3, cpu: int | None = None) -> float:
    """Return the best speed of a fixed float32 matrix product: it tells two nights of one machine apart.

    Run it in a worker, where the threads are fixed.
    """
    import numpy as np

    stay_on(cpu)
    matrix = np.ones((size, size), dtype=np.float32)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - started)
    return round(2 * size**3 / min(seconds) / 1e9, 1)
