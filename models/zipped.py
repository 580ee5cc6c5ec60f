"""Zipped artifacts: every file that prediction needs in one archive, unpacked when it is loaded."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from models.artifact import Artifact
from models.store import is_dead

SUFFIX = "-zipped"
"""What a format's name ends with once its files are zipped."""
ARCHIVE = "model.zip"
UNPACKED = "leanboard-unpacked-"
"""What the name of a folder begins with in which an archive is unpacked; then its process."""
FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive: the same files make the same bytes."""


def pack(files: dict[str, Path], target: Path) -> None:
    """Write an archive of files, by their names in it, deflated."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files.items()):
            entry = zipfile.ZipInfo(name, FIRST_DAY)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


@contextmanager
def extracted(archive: Path) -> Iterator[Path]:
    """Lend what `pack` wrote, in a folder that goes away."""
    prefix = f"{UNPACKED}{os.getpid()}-"
    with TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as folder:
        with zipfile.ZipFile(archive) as files:
            files.extractall(folder)
        yield Path(folder)


def remove_what_the_dead_unpacked() -> None:
    """Remove the folders of processes that were killed while they had a model unpacked."""
    for folder in Path(gettempdir()).glob(f"{UNPACKED}*"):
        if is_dead(folder.name.removeprefix(UNPACKED).partition("-")[0]):
            shutil.rmtree(folder, ignore_errors=True)


def inside(artifact: Artifact) -> Artifact:
    """Return what is in a zipped artifact, by its manifest alone: its files are not there yet."""
    format = artifact.format.removesuffix(SUFFIX)
    return replace(artifact, manifest=artifact.manifest | {"format": format})


@contextmanager
def unpacked(artifact: Artifact) -> Iterator[Artifact]:
    """Lend what a zipped artifact holds, in a folder that goes away."""
    with extracted(artifact.folder / ARCHIVE) as folder:
        yield replace(inside(artifact), folder=folder)
