"""Artifacts are complete, verified and immutable; the store never shows half of one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from models.artifact import MANIFEST, ArtifactError, open_artifact, read_manifest, seal
from models.store import Store, StoreError, is_whole

FACTS = {"format": "linear", "lineage": []}


def write(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(bytes(range(100)))
    (folder / "cache.bin").write_bytes(b"not needed")
    seal(folder, FACTS, ("cache.bin",))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "artifact"
    made.mkdir()
    write(made)
    return made


def test_opens_what_was_sealed(folder: Path) -> None:
    assert open_artifact(folder).sha256 == read_manifest(folder).sha256


@pytest.mark.parametrize("position", range(0, 100, 9))
def test_any_changed_byte_is_seen(folder: Path, position: int) -> None:
    data = bytearray((folder / "weights.bin").read_bytes())
    data[position] ^= 1
    (folder / "weights.bin").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"'weights\.bin' was changed"):
        open_artifact(folder)


@pytest.mark.parametrize(
    "changed", [{"format": "onnx"}, {"max_tokens": 12}, {"labels": ["b", "a"]}]
)
def test_changed_manifest_is_seen(folder: Path, changed: dict[str, object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text()) | changed
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"manifest\.json was changed"):
        open_artifact(folder)


def test_missing_file(folder: Path) -> None:
    (folder / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"'weights\.bin' is missing"):
        open_artifact(folder)


def test_undeclared_file(folder: Path) -> None:
    (folder / "extra.py").write_text("evil")
    with pytest.raises(ArtifactError, match=r"'extra\.py' is not in the manifest"):
        open_artifact(folder)


def test_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes((folder / "weights.bin").read_bytes())
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").symlink_to(tmp_path / "same")
    with pytest.raises(ArtifactError, match="is a link"):
        open_artifact(folder)


def test_file_outside_of_the_folder(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][0]["name"] = "../outside"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="points out of the folder"):
        open_artifact(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 99, "files": []}'])
def test_damaged_manifest(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match=r"damaged|newer"):
        open_artifact(folder)


def test_newer_schema(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text()) | {"schema": 99}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="upgrade Leanboard"):
        open_artifact(folder)


def test_what_prediction_does_not_need_is_not_its_identity(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    assert seal(other, FACTS).sha256 == read_manifest(folder).sha256


def test_store_builds_a_key_once(tmp_path: Path) -> None:
    store, calls = Store(tmp_path), []

    def make(folder: Path) -> None:
        calls.append(folder)
        write(folder)

    assert store.build("ab12", make).sha256 == store.build("ab12", make).sha256
    assert len(calls) == 1


def test_store_keeps_nothing_of_a_step_that_raises(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Store(tmp_path).build("ab12", make)
    assert not Store(tmp_path).has("ab12")
    assert not list(tmp_path.rglob("half"))


def test_full_disk(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        with open("/dev/full", "w") as full:
            full.write("x")

    with pytest.raises(StoreError, match="free some space or point LEANBOARD_CACHE"):
        Store(tmp_path).build("ab12", make)
    assert not list(tmp_path.rglob("half"))


SLOW = """
import sys, time
from pathlib import Path
from models.artifact import seal
from models.store import Store
def make(folder):
    (folder / "weights").write_bytes(b"half")
    Path(sys.argv[2]).open("a").write("made\\n")
    time.sleep(float(sys.argv[3]))
    seal(folder, {"format": "linear", "lineage": []})
print(Store(Path(sys.argv[1])).build("ab12", make).sha256)
"""


def start(tmp_path: Path, seconds: float) -> subprocess.Popen[bytes]:
    arguments = [str(tmp_path / "store"), str(tmp_path / "calls"), str(seconds)]
    return subprocess.Popen([sys.executable, "-c", SLOW, *arguments])


def test_two_processes_build_a_key_once(tmp_path: Path) -> None:
    both = [start(tmp_path, 0.5) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert (tmp_path / "calls").read_text() == "made\n"


def test_kill_while_writing_leaves_nothing_that_is_used(tmp_path: Path) -> None:
    killed = start(tmp_path, 60)
    while not (tmp_path / "calls").exists():
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not Store(tmp_path / "store").has("ab12")
    assert start(tmp_path, 0).wait(60) == 0
    assert Store(tmp_path / "store").get("ab12").manifest["files"][0]["bytes"] == 4


def test_kept_arrays_with_a_flipped_bit_are_not_whole_or_still_the_same(tmp_path: Path) -> None:
    kept = tmp_path / "kept.npz"
    np.savez(kept, logits=np.arange(8, dtype=np.float32))
    whole = kept.read_bytes()
    assert is_whole(kept)
    assert not is_whole(tmp_path / "none.npz")
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1
        kept.write_bytes(data)
        if is_whole(kept):
            with np.load(kept) as found:
                assert all(np.array_equal(found[name], np.arange(8)) for name in found)
