"""The store keeps artifacts by content of their making: the same key is built once, by one process."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from filelock import FileLock

from models.artifact import Artifact, ArtifactError, open_artifact, read_manifest
from tasks.assets import cache_folder


def is_whole(arrays: Path) -> bool:
    """Say whether a kept npz is there and every array in it has its checksum."""
    try:
        with zipfile.ZipFile(arrays) as kept:
            return kept.testzip() is None
    except Exception:  # a flipped bit may say: encrypted, of another version, packed otherwise
        return False


def is_dead(process: str) -> bool:
    """Say whether a process whose id stands in a name is no more: what it left may go."""
    return process.isdecimal() and not psutil.pid_exists(int(process))


def kept_arrays(kind: str, identity: list[Any], make: Callable[[Path], None]) -> Path:
    """Return an npz that the cache keeps under what it was made from; make it if it is not whole.

    What a killed process left of it goes.

    Args:
        kind: its folder in the cache.
        identity: all that its content depends on, as JSON can say it.
        make: writes the npz to a path.
    """
    key = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    kept = cache_folder() / kind / f"{key}.npz"
    if not is_whole(kept):
        kept.parent.mkdir(parents=True, exist_ok=True)
        for left in kept.parent.glob(f".*.{kept.name}"):
            if is_dead(left.name.split(".")[1]):
                left.unlink(missing_ok=True)
        unfinished = kept.with_name(f".{os.getpid()}.{kept.name}")
        try:
            make(unfinished)
            os.replace(unfinished, kept)
        finally:
            unfinished.unlink(missing_ok=True)
    return kept


def kept_facts(
    kind: str, identity: list[Any], find: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what the cache keeps as `kept_arrays` does; find it if it is not there.

    Args:
        find: returns what JSON can say.
    """

    def make(target: Path) -> None:
        np.savez(target, facts=json.dumps(find()))

    with np.load(kept_arrays(kind, identity, make)) as kept:
        return json.loads(str(kept["facts"]))


class StoreError(RuntimeError):
    """The store cannot be written; the message says where and what to do."""


class Store:
    """Artifacts under one folder; every write appears whole or not at all."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_folder() / "store"

    def folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def has(self, key: str) -> bool:
        return self.folder(key).is_dir()

    def get(self, key: str) -> Artifact:
        """Open and verify a kept artifact.

        Raises:
            ArtifactError: it is damaged.
        """
        return open_artifact(self.folder(key))

    def find(self, sha256: str) -> Artifact | None:
        """Return a kept artifact by its content, verified; None if there is none.

        Raises:
            ArtifactError: it is damaged.
        """
        for manifest in sorted(self.root.glob("??/*/manifest.json")):
            try:
                if read_manifest(manifest.parent).sha256 == sha256:
                    return open_artifact(manifest.parent)
            except ArtifactError:
                if sha256 in manifest.read_text(encoding="utf-8", errors="replace"):
                    raise
        return None

    def build(self, key: str, make: Callable[[Path], None]) -> Artifact:
        """Return the artifact of `key`; if it is not there, let `make` write it to an empty folder.

        Two processes that want one key build it once: the second waits for the first. What `make`
        leaves unfinished (an exception, a kill, a full disk) never becomes visible.

        Raises:
            StoreError: the disk is full or the folder cannot be written.
        """
        target = self.folder(key)
        unfinished = self.root / "unfinished" / key
        try:
            unfinished.parent.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / "unfinished" / f"{key}.lock"):
                if not target.is_dir():
                    # Left by a killed builder: the lock says that nobody works on it any more.
                    shutil.rmtree(unfinished, ignore_errors=True)
                    unfinished.mkdir()
                    try:
                        make(unfinished)
                        os.replace(unfinished, target)
                    finally:
                        shutil.rmtree(unfinished, ignore_errors=True)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
                raise StoreError(
                    f"cannot write to {self.root}: {error.strerror}; free some space "
                    "or point LEANBOARD_CACHE to another folder"
                ) from error
            raise
        return self.get(key)
