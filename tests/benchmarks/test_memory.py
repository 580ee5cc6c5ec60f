"""Memory is counted phase by phase, in a process that inherited nobody's peak."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest

import models
from benchmarks.account import Account
from benchmarks.extensions import module_name
from benchmarks.matrix import Cell
from benchmarks.measures import memory
from benchmarks.measures.requests import Requests
from benchmarks.workers import Worker, WorkerFailed
from models.process_memory import is_exact

MIB = 1 << 20


class Hungry:
    """Takes 96 MiB to load, of which it keeps 64, and 160 for a call."""

    def __init__(self) -> None:
        self.weights = np.ones(64 * MIB, np.uint8)
        np.ones(32 * MIB, np.uint8).sum()
        self.is_warm = False

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        if not self.is_warm:
            np.ones(448 * MIB, np.uint8).sum()  # as what is compiled at the first call takes
        self.is_warm = True
        np.ones(160 * MIB, np.uint8).sum()
        return np.zeros((len(texts), 2))


class Phases:
    """Measures `Hungry`, in a process without freed memory that it could get again."""

    def of_hungry(self) -> dict[str, Any]:
        with pytest.MonkeyPatch.context() as patch:
            artifact = SimpleNamespace(format="hungry", folder=Path("nowhere"))
            patch.setattr(memory, "read_manifest", lambda folder: artifact)
            patch.setattr(memory, "load_predictor", lambda *_: Hungry())
            patch.setattr(memory, "modules_of", lambda _: ())
            dropped: list[Path] = []
            patch.setattr(memory, "forget_cached", dropped.append)
            np.ones(400 * MIB, np.uint8).sum()  # a peak of before: it must not count
            requests = Requests(single=["one", "two"], batch=["three"] * 4)
            figures = memory.Subject("", "cpu", 1).memory(requests)
            assert dropped == [artifact.folder]
            return figures


def cached_share(file: Path) -> float:
    """Share of a file's pages that the kernel holds in memory."""
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        pages = (ctypes.c_ubyte * -(-len(view) // mmap.PAGESIZE))()
        start = ctypes.c_char.from_buffer(view)
        failed = ctypes.CDLL(None).mincore(
            ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(len(view)), pages
        )
        del start
    assert not failed
    return sum(page & 1 for page in pages) / len(pages)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="no page cache to advise")
def test_files_are_loaded_from_disk(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "weights"
    file.parent.mkdir()
    file.write_bytes(bytes(8 * MIB))
    if cached_share(file) < 1:
        pytest.skip("this file system does not use the page cache")
    memory.forget_cached(tmp_path)
    assert cached_share(file) < 0.1


@pytest.mark.skipif(not is_exact(), reason="the kernel cannot reset a peak")
def test_memory_is_that_of_each_phase(tmp_path: Path) -> None:
    target, log = f"{module_name(Path(__file__))}:Phases", tmp_path / "log"
    with Worker(target, {}, start="spawn", log=log, extensions=[__file__]) as worker:
        found = worker.call("of_hungry")
    mib = {name: value / MIB for name, value in found.items() if name.endswith("_bytes")}
    assert mib["memory_load_peak_bytes"] == pytest.approx(96, abs=16)
    assert mib["memory_steady_bytes"] == pytest.approx(64, abs=16)
    assert mib["memory_inference_peak_bytes"] == pytest.approx(224, abs=16)
    whole = found["memory_process_peak_bytes"] - found["memory_import_bytes"]
    assert whole / MIB == pytest.approx(512, abs=16)


@pytest.mark.skipif(not is_exact(), reason="the kernel cannot reset a peak")
def test_a_spawned_worker_has_no_peak_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "small.py").write_text(
        "from models.process_memory import peak_bytes\n"
        "class Subject:\n"
        "    def peak(self): return peak_bytes()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    ballast = np.ones(800 * MIB, np.uint8)
    with Worker("small:Subject", {}, start="spawn", log=tmp_path / "log") as worker:
        assert worker.call("peak") < ballast.nbytes / 2


class Importing:
    """Stands for a subject: it takes a while to start, or never does."""

    def __init__(self, name: str) -> None:
        time.sleep(0.5)
        if name == "broken":
            raise ImportError("no such library")
        self.name = name

    def says(self) -> str:
        return self.name


def test_two_processes_start_at_once_and_each_serves_its_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, started = ["a", "b", "broken", "c", "d"], []

    def start(session: Any, name: str) -> Worker:
        started.append(name)
        target, log = f"{module_name(Path(__file__))}:Importing", tmp_path / "log"
        return Worker(target, {"name": name}, log=log, extensions=[__file__], wait=False)

    def following(session: Any, name: str) -> str | None:
        return next(iter(order[order.index(name) + 1 :]), None)

    monkeypatch.setattr(memory, "_start", start)
    monkeypatch.setattr(memory, "_next", following)
    subjects, session, told = memory.Subjects(), SimpleNamespace(account=Account()), []
    for name in order[:4]:
        try:
            with subjects.get(session, name) as worker:  # type: ignore[arg-type]
                told.append((worker.call("says"), list(started)))
        except WorkerFailed as error:
            told.append((str(error), list(started)))
    assert told == [
        ("a", ["a", "b"]),
        ("b", ["a", "b"]),
        ("ImportError: no such library", ["a", "b", "broken", "c"]),
        ("c", ["a", "b", "broken", "c"]),
    ]
    with subjects.get(session, "a"):  # type: ignore[arg-type]
        assert subjects._waiting
        waiting = subjects._waiting[1]
        deadline = time.monotonic() + 10
        while psutil.Process(waiting.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < deadline  # the signal takes a moment
            time.sleep(0.01)
        subjects.close()
        assert waiting.closed


def test_the_next_process_is_that_of_a_built_cell_whose_memory_is_not_known() -> None:
    cells = [Cell("tiny", "tiny-bert", recipe, "cpu", 0) for recipe in "abcde"]
    session: Any = SimpleNamespace(
        planned={cell: ["memory"] for cell in cells} | {cells[2]: ["size"]},
        records={(cells[1].id, "memory"): "known"},
        artifacts=SimpleNamespace(is_there=lambda cell: cell != cells[4]),
    )
    assert memory._next(session, cells[0]) == cells[3]
    assert memory._next(session, cells[3]) is None  # the next is to be built first
    assert memory._next(session, Cell("tiny", "tiny-bert", "unplanned", "cpu", 0)) is None


def test_kept_predictions_are_of_the_code_that_is_there(tmp_path: Path) -> None:
    """Of all of it: how texts are read and weights are loaded, not the predictor alone."""
    shutil.copytree(Path(models.__file__).parent, tmp_path / "models")
    before = memory.code_sha256(tmp_path / "models")
    assert before == memory.code_sha256()
    with (tmp_path / "models" / "tokenization.py").open("a") as file:
        file.write("# another reader\n")
    memory.code_sha256.cache_clear()
    assert memory.code_sha256(tmp_path / "models") != before
