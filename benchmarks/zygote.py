"""Preloaded by the zygote, the process that workers are forked from: it must not outlive pytest."""

import ctypes
import multiprocessing
import os
import signal
import sys


def die_with_parent() -> None:
    """Have the kernel end us with our parent, also while we compute or are stopped (Linux)."""
    if sys.platform == "linux":
        set_death_signal = 1
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def keep_to_ourselves() -> None:
    """Keep OpenVINO from telling its makers that it was imported, from a thread of every process.

    It would take part in what is measured; and what is forked while that thread imports something
    waits for ever. ONNX Runtime's is switched off by the environment (`fix_environment`).
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]


if multiprocessing.parent_process() is None and "multiprocessing.forkserver" in sys.modules:
    die_with_parent()
    keep_to_ourselves()
    # What libraries say while they are imported is not for the user's terminal; workers have logs.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
