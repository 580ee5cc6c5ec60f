"""Runs that are killed, interrupted, out of disk or not alone: nothing measured is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from benchmarks.matrix import Cell
from tests.conftest import CRASHING, ROOT, TINY, Bench, Outcome, command


def test_resume_finishes_the_rest_and_measures_nothing_twice(bench: Bench, tmp_path: Path) -> None:
    options = ("--recipe", "finetune,finetune+int8,majority")
    started = subprocess.Popen(
        command(tmp_path / "output", *options), cwd=ROOT, stdout=subprocess.DEVNULL
    )
    records = tmp_path / "output" / "latest" / "records.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        records.exists() and records.read_text().count("\n") >= 7
    ):
        time.sleep(0.1)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    # As if the kill had come between a cell's memory and its predictions.
    lines = records.read_text().splitlines(keepends=True)
    first = json.loads(lines[0])["cell"]
    cut = [line for line in lines if json.loads(line)["measure"] not in ("accuracy", "latency")]
    before = "".join(cut)
    records.write_text(before)
    name = Cell(**first).id.replace("/", "__")
    (records.parent / "samples" / f"{name}.predictions.npz").unlink()
    outcome = bench(*options, "--resume")
    assert outcome.status == 0, outcome.text
    assert (outcome.folder / "records.jsonl").read_text().startswith(before)
    keys = [(Cell(**r["cell"]).id, r["measure"]) for r in outcome.records]
    assert len(keys) == len(set(keys)) == 15
    assert {row["status"] for row in outcome.rows.values()} == {"ok"}


def test_resume_alone_goes_on_with_all_that_was_planned(bench: Bench, tmp_path: Path) -> None:
    first = bench("--recipe", "finetune+int8,majority", "-k", "size")
    options = ["--extension", str(TINY), "--output", str(tmp_path / "output"), "--resume"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks/", *options, "-k", "memory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    measured = {
        record["cell"]["recipe"] for record in first.records if record["measure"] == "memory"
    }
    assert measured == {"finetune+int8", "majority"}


@pytest.mark.parametrize(
    ("model", "slow", "how"),
    [
        ("tiny-bert", "finetune+sleeping", signal.SIGINT),
        ("tiny-bert", "finetune+sleeping", signal.SIGTERM),
        ("minilm-bert", "finetune", signal.SIGINT),
    ],
)
def test_interrupting_keeps_what_was_measured(
    bench: Bench,
    tmp_path: Path,
    forget: Callable[[], None],
    model: str,
    slow: str,
    how: signal.Signals,
) -> None:
    forget()
    options = (
        "--extension",
        str(CRASHING),
        "--recipe",
        f"majority,{slow}",
        "--model",
        f"{model},none",
    )
    started = subprocess.Popen(
        command(tmp_path / "output", *options),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A shell starts what runs in its background deaf to the signal.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    logs = tmp_path / "output" / "latest" / "logs"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(logs.glob(f"*{slow.split('+')[-1]}*.build.log")):
        time.sleep(0.2)
    time.sleep(3)
    if how == signal.SIGINT:
        os.killpg(started.pid, how)  # as a terminal does: the workers get it too
    else:
        started.terminate()
    text, _ = started.communicate(timeout=60)
    assert started.returncode == pytest.ExitCode.INTERRUPTED
    assert "= leaderboard =" in text
    rows = Outcome(tmp_path / "output", subprocess.CompletedProcess([], 2, text, "")).rows
    assert rows["majority"]["status"] == "ok"
    assert rows[slow]["reason"] == "not measured yet"
    assert "this run is not finished: 1 of its 2 cells" in text


def test_a_run_that_cannot_keep_its_records_stops_and_says_so(bench: Bench, tmp_path: Path) -> None:
    full = tmp_path / "full.py"
    full.write_text(
        "import errno, os\nfrom benchmarks import session\n"
        "def append(folder, record):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / 'records.jsonl'))\n"
        "session.append = append\n"
        "write = session.write_atomically\n"
        "def write_some(path, text):\n"
        "    append(path, None) if path.suffix == '.md' else write(path, text)\n"
        "session.write_atomically = write_some\n"
    )
    outcome = bench("--extension", str(full), "--recipe", "majority")
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    assert re.search(r"records\.jsonl: No space left on device; .* --resume", outcome.text)
    assert "cannot write" in outcome.text[outcome.text.index("= leaderboard =") :]
    assert "wall time" in outcome.text
    assert "Traceback" not in outcome.text
    assert (outcome.folder / "run.json").exists()


def test_a_disk_that_is_full_when_pytest_benchmark_writes_ends_no_run(
    bench: Bench, tmp_path: Path
) -> None:
    """Its hook fails before those of the others: the run must be closed all the same."""
    full = tmp_path / "full.py"
    full.write_text(
        "import errno, os\nfrom pytest_benchmark.session import BenchmarkSession\n"
        "def save(self, output):\n"
        "    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.json))\n"
        "BenchmarkSession.save_json = save\n"
    )
    outcome = bench("--extension", str(full), "--recipe", "majority")
    assert "pytest-benchmark.json: No space left on device" in outcome.text
    assert "Traceback" not in outcome.text
    assert json.loads((outcome.folder / "run.json").read_text())["account"]
    assert outcome.status == pytest.ExitCode.TESTS_FAILED
    assert "wall time" in outcome.text[outcome.text.index("= leaderboard =") :]
    assert outcome.rows["majority"]["status"] == "ok"


def test_a_run_that_cannot_begin_says_so(bench: Bench) -> None:
    outcome = bench("--output", "/proc/nowhere", "--recipe", "majority")
    assert outcome.status == pytest.ExitCode.USAGE_ERROR
    assert "the run cannot begin" in outcome.text


def test_a_run_waits_for_another_that_measures(own_cache: Path, tmp_path: Path) -> None:
    with FileLock(own_cache / "measuring.lock"):
        process = subprocess.Popen(
            command(tmp_path / "output", "--recipe", "majority"),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout
        assert any("waiting for another run" in line for line in process.stdout)
        assert process.poll() is None
        assert not (tmp_path / "output" / "latest").exists()
    assert " passed" in process.communicate()[0]
    assert process.returncode == 0
    assert (tmp_path / "output" / "latest").exists()


def test_two_runs_at_once_both_finish(bench: Bench, tmp_path: Path) -> None:
    options = ("--recipe", "finetune", "--seed", "11", "-k", "accuracy or size")
    both = [
        subprocess.Popen(command(tmp_path / name, *options), cwd=ROOT, stdout=subprocess.DEVNULL)
        for name in ("one", "two")
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    hashes = set()
    for name in ("one", "two"):
        board = json.loads((tmp_path / name / "latest" / "leaderboard.json").read_text())
        hashes.add(board["rows"][0]["artifact_sha256"])
    assert len(hashes) == 1
