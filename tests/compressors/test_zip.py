"""Zipped artifacts: the same files and the same answers in fewer bytes."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmarks.measures import size
from benchmarks.measures.turns import tolerance
from compressors.zip import Zip
from models.artifact import Artifact
from models.predictors import RUNTIMES, modules_of
from models.zipped import ARCHIVE, extracted, pack, remove_what_the_dead_unpacked
from tests.compressors.artifacts import made, predict
from tests.conftest import ROOT

CHAINS = [f"finetune+{runtime}" for runtime in Zip.accepts]


def both(chain: str) -> tuple[Artifact, Artifact]:
    if "openvino" in chain:
        pytest.importorskip("openvino")
    return made(chain), made(f"{chain}+zip")


@pytest.mark.parametrize("chain", CHAINS)
def test_the_same_files_are_one_smaller_archive(chain: str) -> None:
    source, zipped = both(chain)
    assert [file["name"] for file in zipped.manifest["files"]] == [ARCHIVE]
    with zipfile.ZipFile(zipped.folder / ARCHIVE) as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    needed = [file["name"] for file in source.manifest["files"] if file["needed"]]
    assert inside == {name: (source.folder / name).read_bytes() for name in needed}
    before, after = size.measure(source), size.measure(zipped)
    assert after["size_bytes"] == (zipped.folder / ARCHIVE).stat().st_size
    assert after["size_bytes"] < 0.95 * before["size_bytes"]
    assert after["bits_per_parameter"] < before["bits_per_parameter"]
    for name in ("parameters", "nonzero_parameters", "macs"):
        assert after[name] == before[name]


@pytest.mark.parametrize("chain", CHAINS)
def test_it_answers_the_same_in_the_same_runtime(chain: str) -> None:
    source, zipped = both(chain)
    np.testing.assert_array_equal(predict(source), predict(zipped))
    own, inner = RUNTIMES[zipped.format], RUNTIMES[source.format]
    assert (own.name, own.control) == (inner.name, inner.control)
    assert set(modules_of(source)) < set(modules_of(zipped))
    assert tolerance(zipped.format) == tolerance(source.format)


def test_the_same_files_make_the_same_archive(tmp_path: Path) -> None:
    source, zipped = both("finetune+onnx-int8")
    again = tmp_path / ARCHIVE
    names = [file["name"] for file in source.manifest["files"] if file["needed"]]
    pack({name: source.folder / name for name in reversed(names)}, again)
    assert again.read_bytes() == (zipped.folder / ARCHIVE).read_bytes()


def test_what_a_killed_process_had_unpacked_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = both("finetune+onnx")[1].folder / ARCHIVE  # building leaves temporary files too
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = (
        "import os, signal\nfrom pathlib import Path\nfrom models.zipped import extracted\n"
        f"with extracted(Path({str(archive)!r})):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", killed], cwd=ROOT, env=environment, check=False)
    [left] = tmp_path.iterdir()
    assert (left / "model.onnx").exists()
    with extracted(archive) as ours:
        remove_what_the_dead_unpacked()
        assert list(tmp_path.iterdir()) == [ours]
