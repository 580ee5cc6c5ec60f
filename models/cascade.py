"""A cascade on disk: two artifacts in one folder, and how sure the small one must be to answer alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from models.artifact import Artifact

SMALL, LARGE = "small", "large"
SETTINGS = "cascade.json"
READ = ("format", "outputs", "max_tokens", "pad_id")
"""What predictors read of a part's manifest."""


def write(folder: Path, small: Artifact, large: Artifact, confidence: float) -> None:
    """Copy what prediction needs of both, each to a folder of its own."""
    settings: dict[str, Any] = {"confidence": confidence}
    for name, part in ((SMALL, small), (LARGE, large)):
        for file in part.manifest["files"]:
            if file["needed"]:
                target = folder / name / file["name"]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(part.folder / file["name"], target)
        settings[name] = {k: part.manifest[k] for k in READ if k in part.manifest}
    (folder / SETTINGS).write_text(json.dumps(settings, indent=1), encoding="utf-8")


def parts_of(artifact: Artifact) -> tuple[Artifact, ...]:
    """Return the small and the large artifact of a cascade; of any other artifact nothing."""
    if artifact.format != "cascade":
        return ()
    settings = _settings(artifact)
    return tuple(Artifact(artifact.folder / name, settings[name]) for name in (SMALL, LARGE))


def confidence_of(artifact: Artifact) -> float:
    """Return the probability from which the small one answers alone."""
    return _settings(artifact)["confidence"]


def _settings(artifact: Artifact) -> dict[str, Any]:
    return json.loads((artifact.folder / SETTINGS).read_text(encoding="utf-8"))
