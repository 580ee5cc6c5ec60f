"""Which devices this machine has, found without importing torch."""

from __future__ import annotations

import importlib.util
import platform
import re
from collections.abc import Callable
from pathlib import Path


def _torch_cuda_version() -> str | None:
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    version = Path(spec.submodule_search_locations[0]) / "version.py"
    found = re.search(r"^cuda[^=]*= *'([^']+)'", version.read_text(encoding="utf-8"), re.MULTILINE)
    return found and found[1]


def _no_cuda() -> str | None:
    if not any(Path("/dev").glob("nvidia[0-9]*")) and platform.system() != "Windows":
        return "this machine has no NVIDIA GPU"
    return None if _torch_cuda_version() else "the installed torch was built without CUDA"


def _no_mps() -> str | None:
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return None
    return "this machine is no Mac with Apple silicon"


DEVICES: dict[str, Callable[[], str | None]] = {
    "cpu": lambda: None,
    "cuda": _no_cuda,
    "mps": _no_mps,
}
"""Each device with a function that says why it is not there, or None."""


def present() -> tuple[str, ...]:
    """Return the devices of this machine."""
    return tuple(name for name, why_not in DEVICES.items() if why_not() is None)
