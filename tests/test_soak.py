"""The soak's observer sees what it is there to see: a blind one would find every run in order."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from models.artifact import seal
from tests.soak.observer import MARK, Sight, content, left_alive, measured_twice

CELL = {"task": "t", "model": "none", "recipe": "majority", "device": "cpu", "seed": 0}


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "cache" / "store" / "ab" / ("ab" * 32)
    (folder / "inner").mkdir(parents=True)
    (folder / "weights.bin").write_bytes(bytes(range(100)))
    (folder / "inner" / "notes.txt").write_text("not needed")
    seal(folder, {"format": "linear", "lineage": []}, ("inner/notes.txt",))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "output" / "one"
    (folder / "samples").mkdir(parents=True)
    return folder


def line(measure: str = "size", status: str = "ok", sha256: str | None = None) -> str:
    return json.dumps(
        {"cell": CELL, "measure": measure, "status": status, "artifact_sha256": sha256}
    )


def test_a_whole_artifact_is_whole(artifact: Path) -> None:
    assert content(artifact) == json.loads((artifact / "manifest.json").read_text())["sha256"]


@pytest.mark.parametrize("name", ["weights.bin", "inner/notes.txt", "manifest.json"])
def test_one_flipped_bit_is_seen(artifact: Path, tmp_path: Path, run: Path, name: str) -> None:
    sha256 = content(artifact)
    (run / "records.jsonl").write_text(line(sha256=sha256) + "\n")
    assert Sight(tmp_path).loaded_half(0) == 0
    data = bytearray((artifact / name).read_bytes())
    data[len(data) // 2] ^= 1
    (artifact / name).write_bytes(data)
    assert Sight(tmp_path).half() == [artifact]
    assert Sight(tmp_path).loaded_half(0) == 1


@pytest.mark.parametrize("change", ["missing", "added"])
def test_a_file_too_few_or_too_many_is_seen(artifact: Path, change: str) -> None:
    if change == "missing":
        (artifact / "weights.bin").unlink()
    else:
        (artifact / "more.bin").touch()
    assert content(artifact) is None


def test_only_whole_lines_count(run: Path, tmp_path: Path) -> None:
    (run / "records.jsonl").write_text(f'{line()}\n{{"cut\n{line("memory")}\n{line("latency")}')
    sight = Sight(tmp_path)
    assert sight.lines() == [line(), line("memory")]
    (run / "records.jsonl").write_text("")
    assert sight.lines() == []
    assert list(sight.seen) == [line(), line("memory")]


def test_a_second_good_record_is_one_too_many_and_a_second_try_is_not() -> None:
    assert measured_twice([line(status="failed"), line(), line("memory")]) == 0
    assert measured_twice([line(), line(), line()]) == 2


def test_what_is_meant_to_stay_is_not_temporary(artifact: Path, run: Path, tmp_path: Path) -> None:
    meant = ("records.jsonl", "run.json", "leaderboard.md", "samples/t.npz", "samples/t.json")
    unmeant = (".run.json.7", "samples/.t.npz", "samples/t.npz.tmp", "core")
    for name in (*meant, *unmeant):
        (run / name).touch()
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "listener-1").touch()
    found = Sight(tmp_path).temporary()
    assert found == sorted([*(f"output/one/{name}" for name in unmeant), "tmp/listener-1"])


def test_a_process_that_stays_is_counted_and_ended() -> None:
    mark = f"test-{os.getpid()}"
    code = "import os, time; os.setsid() if os.fork() == 0 else os._exit(0); time.sleep(60)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {MARK: mark}, check=True)
    assert left_alive(mark, seconds=1) == 1
    assert left_alive(mark) == 0
