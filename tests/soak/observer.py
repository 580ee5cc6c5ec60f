"""What an outsider sees of a run: files, lines and processes. Nothing here asks the suite."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

MARK = "LEANBOARD_SOAK"
"""The environment variable by which every process of a run is known, wherever it hides."""
KEY = "[0-9a-f]{64}"
MEANT_TO_STAY = re.compile(
    rf"""cache/(
        assets
        | measuring\.lock
        | (predictions|lessons|sizes|autocast)/{KEY}\.npz
        | store/unfinished/{KEY}\.lock
        | store/[0-9a-f]{{2}}/{KEY}/.+
    )
    | (output|beside)/(
        latest
        | [^/]+/( \.lock | records\.jsonl | run\.json | pytest-benchmark\.json
            | leaderboard\.(md|tex|csv|json|html) | samples/[^./][^/]*\.(npz|json) | logs/[^/]+\.log )
    )""",
    re.VERBOSE,
)
"""Every file that a run may leave; locks are files that stay by design."""


@dataclass
class Sight:
    """A run's disk, as it is looked at again and again."""

    disk: Path
    output: str = "output"
    seen: dict[str, None] = field(default_factory=dict)
    """Complete lines of records that ever were on the disk."""
    _size: int = -1
    _lines: list[str] = field(default_factory=list)

    @property
    def folder(self) -> Path | None:
        """The folder of the run, once it is there."""
        latest = self.disk / self.output / "latest"
        if latest.exists():
            return latest.resolve()
        return next((p.parent for p in (self.disk / self.output).glob("*/samples")), None)

    def lines(self) -> list[str]:
        """Return the complete lines of the records now, and remember them."""
        file = (self.folder or self.disk) / "records.jsonl"
        size = file.stat().st_size if file.exists() else 0
        if size != self._size:
            data = file.read_bytes() if size else b""
            whole = data.rpartition(b"\n")[0].decode().splitlines()
            self._size, self._lines = size, [line for line in whole if is_json(line)]
            self.seen |= dict.fromkeys(self._lines)
        return self._lines

    def temporary(self) -> list[str]:
        """Return every file that is not meant to stay."""
        return sorted(
            name
            for path in self.disk.rglob("*")
            if path.is_symlink() or not path.is_dir()
            if not MEANT_TO_STAY.fullmatch(name := path.relative_to(self.disk).as_posix())
        )

    def being_written(self) -> list[str]:
        """Return the temporary files of this moment, where runs make them; cheap enough to poll."""
        folders = [self.disk / "cache" / "predictions", self.disk / self.output]
        if folder := self.folder:
            folders += [folder, folder / "samples"]
        found = []
        for where in folders:
            try:
                names = [e.path for e in os.scandir(where) if not e.is_dir(follow_symlinks=False)]
            except FileNotFoundError:
                continue
            inside = [os.path.relpath(name, self.disk) for name in names]
            found += [name for name in inside if not MEANT_TO_STAY.fullmatch(name)]
        return found

    def artifacts(self) -> list[Path]:
        """Return the folders that the store shows as complete."""
        return sorted((self.disk / "cache" / "store").glob("[0-9a-f][0-9a-f]/*"))

    def building(self) -> list[Path]:
        unfinished = (self.disk / "cache" / "store" / "unfinished").glob("*")
        return [path for path in unfinished if path.is_dir()]

    def half(self) -> list[Path]:
        """Return the artifacts in the store that their own manifests contradict."""
        return [folder for folder in self.artifacts() if content(folder) is None]

    def loaded_half(self, before: int) -> int:
        """Count good records after the first `before` of what is not whole in the store."""
        whole = {content(folder) for folder in self.artifacts()}
        records = map(json.loads, self.lines()[before:])
        return sum(r["status"] == "ok" and r["artifact_sha256"] not in whole for r in records)

    def predictions(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the logits that the run kept, by file and split; a damaged file has none."""
        found = {}
        for file in (self.folder or self.disk).glob("samples/*.predictions.npz"):
            found[file.name] = {}
            with suppress(Exception), np.load(file) as kept:
                found[file.name] = dict(kept)
        return found


def differing(ours: Sight, theirs: Sight) -> int:
    """Count the cells for which two runs kept other logits, though each was to compute the same."""
    mine, others = ours.predictions(), theirs.predictions()
    return sum(
        mine[name].keys() != others[name].keys()
        or not all(np.array_equal(mine[name][split], others[name][split]) for split in mine[name])
        for name in mine.keys() & others.keys()
    )


def is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def key_of(record: dict[str, Any]) -> tuple[str, ...]:
    return (*map(str, record["cell"].values()), record["measure"])


def measured_twice(lines: list[str]) -> int:
    """Count good records beyond the first of a cell's measure."""
    good = Counter(key_of(r) for r in map(json.loads, lines) if r["status"] == "ok")
    return sum(count - 1 for count in good.values())


def failed_cells(lines: list[str]) -> int:
    """Count the cells with a record that is not good."""
    records = map(json.loads, lines)
    return len({key_of(record)[:-1] for record in records if record["status"] != "ok"})


def content(folder: Path) -> str | None:
    """Return the content hash of an artifact whose every file is as its manifest says, or None."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        files = {file["name"]: file for file in manifest["files"]}
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        sums = {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in files}
    except (OSError, ValueError, KeyError):
        return None
    needed = sorted([name, sums[name]] for name, file in files.items() if file["needed"])
    own = hashlib.sha256(json.dumps([manifest["format"], needed]).encode()).hexdigest()
    rest = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    said = hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
    whole = (
        there == {*files, "manifest.json"}
        and all(sums[name] == file["sha256"] for name, file in files.items())
        and own == manifest["sha256"]
        and said == manifest["manifest_sha256"]
    )
    return own if whole else None


def processes(mark: str) -> list[psutil.Process]:
    """Return the living processes of a run, parents first."""
    found = []
    for process in psutil.process_iter():
        try:
            dead = process.status() == psutil.STATUS_ZOMBIE
            if not dead and process.environ().get(MARK) == mark:
                found.append(process)
        except psutil.Error:
            continue
    return found


def left_alive(mark: str, seconds: int = 10) -> int:
    """Count the processes that outlive their run by more than a moment, and end them."""
    for _ in range(5 * seconds):
        if not (left := processes(mark)):
            return 0
        time.sleep(0.2)
    for process in left:
        process.kill()
    return len(left)
