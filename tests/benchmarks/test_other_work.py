"""What others take of the processors while something is timed is seen, and said below the table."""

from __future__ import annotations

import subprocess
import sys
import time

import psutil
import pytest

from benchmarks import other_work
from benchmarks.other_work import OtherWork, at_once
from reports.tables import terminal


def test_a_process_counts_as_other_work_unless_it_is_ours() -> None:
    ours, others = OtherWork(), OtherWork()
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        process = psutil.Process(hog.pid)
        time.sleep(0.2)
        before = sum(process.cpu_times()[:2])
        with others.watch(), ours.watch(hog.pid):
            time.sleep(1)
        took = sum(process.cpu_times()[:2]) - before
    finally:
        hog.kill()
        hog.wait()
    assert others.share is not None
    assert ours.share is not None
    cores = psutil.cpu_count() or 1
    assert others.share - ours.share == pytest.approx(took / cores, abs=0.1)


def test_other_work_is_seen_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_work, "BUSY", 0.5 / (psutil.cpu_count() or 1))
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.2)
        [line] = at_once()
    finally:
        hog.kill()
        hog.wait()
    assert "of the processors now" in line


def test_a_disturbed_run_says_so() -> None:
    assert "Other work took 31% of the processors" in terminal([], {"other_work": 0.31})
    for quiet in (0.01, OtherWork().share):
        assert "Other work" not in terminal([], {"other_work": quiet})
