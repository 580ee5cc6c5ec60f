"""Memory of a process of its own: while loading, when loaded, while predicting, and in all.

The figures count from what is resident once the runtime is imported; `memory_process_peak_bytes`
is the whole process, which is what a container needs that returns freed memory too. On Linux
the files are not in the page cache when they are loaded. The same process then predicts the
evaluated splits: one load serves both.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import models
from benchmarks import machine
from benchmarks.measures.measure import Measure, Metrics, after
from benchmarks.measures.requests import Requests, evaluated
from benchmarks.workers import Worker, WorkerError
from models.artifact import Artifact, read_manifest
from models.predictors import RUNTIMES, load_predictor, modules_of
from models.process_memory import (
    is_exact,
    peak_bytes,
    reset_peak,
    resident,
    returning_freed_memory,
)
from models.store import kept_arrays
from reports.records import OK, replacing
from tasks import TASKS
from tasks.assets import file_sha256

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

METRICS: Metrics = {
    "memory_load_peak_bytes": ("B", True),
    "memory_steady_bytes": ("B", True),
    "memory_steady_file_bytes": ("B", True),
    "memory_inference_peak_bytes": ("B", True),
    "memory_process_peak_bytes": ("B", True),
    "memory_import_bytes": ("B", True),
    "memory_device_allocated_bytes": ("B", True),
    "memory_device_reserved_bytes": ("B", True),
    "memory_exact": ("", None),
    "load_seconds": ("s", True),
}


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Measure a cell's memory in a fresh process, and have it write the cell's predictions."""
    with session.alone(), session.subjects.get(session, cell) as worker:
        with session.account.spend("loading"):
            figures = worker.call("memory", requests=session.requests(cell))
        if (cell.id, "memory") not in session.records:  # a run that was killed has one
            session.append(cell, "memory", OK, artifact=artifact, metrics=figures)
        with session.account.spend("predicting"):
            _predict(session, cell, artifact, worker)


class Subjects:
    """Fresh processes whose runtime is imported; those of two cells import at once.

    To import PyTorch takes longer than to measure most artifacts, and keeps one processor busy.
    """

    def __init__(self) -> None:
        self._waiting: tuple[Cell, Worker] | None = None

    def get(self, session: Session, cell: Cell) -> Worker:
        """Return a cell's process; the next cell's is started beside it, if that one is built."""
        if self._waiting and self._waiting[0] == cell and not self._waiting[1].closed:
            worker, self._waiting = self._waiting[1], None
            worker.resume()
            return worker
        following = _next(session, cell)
        with session.account.spend("starting workers"):
            self.close()
            worker = _start(session, cell)
            if following:
                self._waiting = (following, _start(session, following))
                with suppress(WorkerError):  # told when that cell is measured
                    self._waiting[1].ready()
                    self._waiting[1].pause()
            worker.ready()
            return worker

    def close(self) -> None:
        """End the process that waits."""
        if self._waiting:
            self._waiting[1].close()
        self._waiting = None


def _start(session: Session, cell: Cell) -> Worker:
    target = "benchmarks.measures.memory:Subject"
    return session.worker(cell, "memory", target, spawn=True, wait=False)


def _next(session: Session, cell: Cell) -> Cell | None:
    """Return the cell whose memory is measured next, if the store has its artifact."""
    waiting = (
        other
        for other in after(session.planned, cell)
        if (other.id, "memory") not in session.records
        and not {"memory", "accuracy", "latency"}.isdisjoint(session.planned[other])
    )
    following = next(waiting, None)
    return following if following and session.artifacts.is_there(following) else None


def _predict(session: Session, cell: Cell, artifact: Artifact, worker: Worker) -> None:
    """Predict the evaluated splits; the same file by the same runtime need not do it twice."""
    task = TASKS[cell.task]
    splits = evaluated(task, session.options.profile)
    texts = {name: [e.text for e in examples] for name, examples in splits.items()}
    requests = session.requests(cell)
    threads = session.options.threads
    how = [_runtime(artifact), cell.device, threads, task.max_tokens]
    identity = [artifact.sha256, *how, texts, requests]

    def make(target: Path) -> None:
        worker.call("predict", splits=texts, requests=requests, target=str(target))

    kept = kept_arrays("predictions", identity, make)
    with replacing(session.predictions(cell)) as unfinished:
        shutil.copyfile(kept, unfinished)


def _runtime(artifact: Artifact) -> list[Any]:
    """What computes the predictions: our code, the libraries, the processor's instructions."""
    runtime = RUNTIMES[artifact.format]
    modules = (module.partition(".")[0] for module in modules_of(artifact))
    names = {machine.DISTRIBUTIONS.get(module, module) for module in modules}
    versions = {name: v for name, v in machine.versions().items() if name in names}
    code = importlib.util.find_spec(runtime.predictor.partition(":")[0])
    assert code
    assert code.origin
    ours = [runtime.name, runtime.predictor, file_sha256(Path(code.origin)), code_sha256()]
    return [*ours, versions, machine.FACTS["instructions"]()]


@cache
def code_sha256(folder: Path = Path(models.__file__).parent) -> str:
    """Return one digest of all code that loads, reads and computes."""
    files = sorted(folder.rglob("*.py"))
    digests = [(str(file.relative_to(folder)), file_sha256(file)) for file in files]
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


class Subject:
    """An artifact in a fresh process: its memory first, then, from the same load, its predictions."""

    def __init__(self, folder: str, device: str, threads: int) -> None:
        self.artifact = read_manifest(Path(folder))
        self.device, self.threads = device, threads
        # What the format's runtime needs is imported before anything is counted.
        for name in modules_of(self.artifact):
            module = importlib.import_module(name)
            if hasattr(module, "prepare"):
                module.prepare()

    def memory(self, requests: Requests) -> dict[str, Any]:
        """Load and predict, and return the bytes of each phase."""
        with returning_freed_memory():
            return self._phases(requests)

    def _phases(self, requests: Requests) -> dict[str, Any]:
        forget_cached(self.artifact.folder)
        gc.collect()
        imported = resident().total
        highest = peak_bytes()

        reset_peak()
        started = time.perf_counter()
        self.predictor = load_predictor(self.artifact, self.device, self.threads)
        load_seconds = time.perf_counter() - started
        load_peak = peak_bytes()

        # Memory-mapped weights are read at the first prediction, not while loading.
        self.predictor.predict(requests.single[:1])
        first_peak = peak_bytes()
        steady = resident()

        reset_peak()
        for text in requests.single:
            self.predictor.predict([text])
        self.predictor.predict(requests.batch, batch_size=len(requests.batch))
        inference_peak = peak_bytes()
        return {
            "memory_import_bytes": imported,
            "memory_load_peak_bytes": max(0, load_peak - imported),
            "memory_steady_bytes": max(0, steady.total - imported),
            "memory_steady_file_bytes": steady.file,
            "memory_inference_peak_bytes": max(0, inference_peak - imported),
            "memory_process_peak_bytes": max(highest, first_peak, inference_peak),
            "memory_exact": int(is_exact()),
            "load_seconds": load_seconds,
            **_device_memory(self.device),
        }

    def predict(self, splits: dict[str, list[str]], requests: Requests, target: str) -> None:
        """Write the logits of whole splits, and of the requests as they are timed, to an npz."""
        import numpy as np

        logits = {name: self.predictor.predict(texts) for name, texts in splits.items()}
        logits["request_single"] = np.concatenate(
            [self.predictor.predict([text]) for text in requests.single]
        )
        logits["request_batch"] = self.predictor.predict(
            requests.batch, batch_size=len(requests.batch)
        )
        np.savez(target, **logits)  # type: ignore[arg-type]


def forget_cached(folder: Path) -> None:
    """Drop an artifact's files from the page cache (Linux).

    How they came in decides how much of a memory-mapped file each touch makes resident: the same
    MiniLM in PyTorch peaked at 131 to 132 MB when its file was mapped from disk or just written,
    and at 154 when something had read it from end to end before (kernel 6.18, ext4).
    """
    if not hasattr(os, "posix_fadvise"):
        return
    for file in filter(Path.is_file, folder.rglob("*")):
        with file.open("rb") as opened:
            with suppress(OSError):  # a read-only file system has nothing to write
                os.fsync(opened.fileno())  # what is not written yet cannot be dropped
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _device_memory(device: str) -> dict[str, int]:
    if device == "cpu":
        return {}
    import torch

    if device == "cuda":
        return {
            "memory_device_allocated_bytes": torch.cuda.max_memory_allocated(),
            "memory_device_reserved_bytes": torch.cuda.max_memory_reserved(),
        }
    return {
        "memory_device_allocated_bytes": torch.mps.current_allocated_memory(),
        "memory_device_reserved_bytes": torch.mps.driver_allocated_memory(),
    }


MEMORY = Measure("memory", METRICS, take)
