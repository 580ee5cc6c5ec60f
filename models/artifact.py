"""An artifact: a folder on disk, complete and immutable, the only thing that recipes hand to measures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.assets import file_sha256

MANIFEST = "manifest.json"
SCHEMA = 1
FIRST_TOKEN = "first token"
"""What a manifest's `last_layer` says where the last layer computes no other token's output."""


class ArtifactError(RuntimeError):
    """An artifact on disk is incomplete, damaged or not what its manifest says."""


@dataclass(frozen=True)
class Artifact:
    """A folder and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def format(self) -> str:
        return self.manifest["format"]

    @property
    def sha256(self) -> str:
        """Identity by content: the hash of the format and of every file that prediction needs."""
        return self.manifest["sha256"]

    @property
    def lineage(self) -> list[dict[str, Any]]:
        """One entry a step: its name, seconds, peak memory, device and parent's hash."""
        return self.manifest["lineage"]

    @property
    def build_seconds(self) -> float:
        return sum(step["seconds"] for step in self.lineage)


def content_sha256(format: str, files: Iterable[dict[str, Any]]) -> str:
    """Hash of what prediction uses: the same weights have the same hash, whenever they were built."""
    needed = sorted((f["name"], f["sha256"]) for f in files if f["needed"])
    return hashlib.sha256(json.dumps([format, needed]).encode()).hexdigest()


def manifest_sha256(manifest: dict[str, Any]) -> str:
    """Hash of everything that a manifest says, but for this hash itself."""
    rest = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def seal(folder: Path, facts: dict[str, Any], not_needed: tuple[str, ...] = ()) -> Artifact:
    """Write the manifest of the finished files in `folder`.

    Args:
        folder: holds every file of the artifact.
        facts: format, task, model, recipe, seed, labels, metric, lineage, versions …
        not_needed: files that later steps use and prediction does not (cached features).
    """
    files = [
        {
            "name": path.relative_to(folder).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
            "needed": path.relative_to(folder).as_posix() not in not_needed,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    ]
    manifest = {
        "schema": SCHEMA,
        **facts,
        "files": files,
        "sha256": content_sha256(facts["format"], files),
    }
    manifest["manifest_sha256"] = manifest_sha256(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return Artifact(folder, manifest)


def open_artifact(folder: Path) -> Artifact:
    """Read the manifest, and check every file against it before anything is loaded.

    Raises:
        ArtifactError: a file is missing, changed, not declared, a link, or outside the folder.
    """
    artifact = read_manifest(folder)
    declared = set()
    for file in artifact.manifest["files"]:
        name = file["name"]
        path = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ArtifactError(f"artifact {folder}: '{name}' points out of the folder")
        if any(part.is_symlink() for part in (path, *path.parents) if folder in part.parents):
            raise ArtifactError(f"artifact {folder}: '{name}' is a link")
        if not path.is_file():
            raise ArtifactError(f"artifact {folder}: '{name}' is missing; remove the folder")
        found = file_sha256(path)
        if found != file["sha256"]:
            raise ArtifactError(
                f"artifact {folder}: '{name}' was changed: sha256 {found[:12]}…, "
                f"the manifest says {file['sha256'][:12]}…; remove the folder to build it again"
            )
        declared.add(name)
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir()}
    if extra := sorted(present - declared - {MANIFEST}):
        raise ArtifactError(f"artifact {folder}: '{extra[0]}' is not in the manifest")
    unchanged = artifact.manifest.get("manifest_sha256") == manifest_sha256(artifact.manifest)
    if (
        not unchanged
        or content_sha256(artifact.format, artifact.manifest["files"]) != artifact.sha256
    ):
        raise ArtifactError(f"artifact {folder}: {MANIFEST} was changed; remove the folder")
    return artifact


def read_manifest(folder: Path) -> Artifact:
    """Open an artifact that was verified before, without reading its files again.

    Raises:
        ArtifactError: the manifest is missing, damaged, or of a newer schema.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        schema = manifest["schema"]
        entries = [(f["name"], f["bytes"], f["sha256"], f["needed"]) for f in manifest["files"]]
        texts = [manifest["format"], manifest["sha256"], *(e[0] for e in entries)]
        texts += [e[2] for e in entries]
        if not all(isinstance(text, str) and "\x00" not in text for text in texts):
            raise TypeError("a name or a hash is no text")
        if not isinstance(manifest["lineage"], list) or not isinstance(schema, int):
            raise TypeError("lineage or schema")
    except FileNotFoundError:
        raise ArtifactError(f"{folder} is no artifact: it has no {MANIFEST}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"artifact {folder}: {MANIFEST} is damaged ({error!r})") from None
    if schema > SCHEMA:
        raise ArtifactError(
            f"artifact {folder} has schema {schema}, newer than {SCHEMA}: upgrade Leanboard"
        )
    return Artifact(folder, manifest)
