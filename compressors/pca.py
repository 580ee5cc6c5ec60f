"""Principal components of kept features: fewer numbers for the head to learn from."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from compressors.features import FEATURES, TRAIN_FEATURES
from compressors.static_embeddings import STATIC_FEATURES
from compressors.step import Plan, Step, Unsupported, headline

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

PROJECTION = "projection.safetensors"


@dataclass(frozen=True)
class Pca(Step):
    """Project features to their first K principal components (Hotelling 1933), by scikit-learn.

    What follows is linear too, so the head is mapped back through the components: prediction costs
    what it costs without. What changes is what the head can learn, and how fast it is fitted.
    """

    name: ClassVar[str] = "pca"
    family: ClassVar[str] = "transfer"
    accepts: ClassVar[tuple[str, ...]] = (FEATURES, STATIC_FEATURES)
    produces: ClassVar[str | None] = None
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    components: int = headline(64, low=1, high=4096)

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if before.shape and self.components > before.shape.hidden:
            raise Unsupported(f"{self}: the features have {before.shape.hidden} dimensions")
        return plan

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from safetensors.numpy import load_file, save_file
        from sklearn.decomposition import PCA

        assert source
        features = load_file(source.folder / TRAIN_FEATURES)["features"]  # [n, dim]
        if self.components > min(features.shape):
            raise ValueError(
                f"{len(features)} texts of {features.shape[1]} features have "
                f"{min(features.shape)} components at most"
            )
        pca = PCA(self.components, svd_solver="full", random_state=workbench.seed).fit(features)
        # safetensors writes memory as it lies.
        weight = np.ascontiguousarray(pca.components_, dtype=np.float32)  # [components, dim]
        bias = -weight @ pca.mean_.astype(np.float32)  # [components]
        projected = features @ weight.T + bias
        save_file({"features": projected}, workbench.folder / TRAIN_FEATURES)
        weight, bias = through_projection(source.folder, weight, bias)
        save_file({"weight": weight, "bias": bias}, workbench.folder / PROJECTION)
        for file in source.manifest["files"]:
            if file["name"] not in (TRAIN_FEATURES, PROJECTION):
                shutil.copyfile(source.folder / file["name"], workbench.folder / file["name"])
        return workbench.seal(source, not_needed=(TRAIN_FEATURES,))


def through_projection(
    folder: Path, weight: np.ndarray, bias: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return a linear map of projected features as one of the features themselves.

    Args:
        folder: of the features; without a projection the map is returned as it is.
        weight, bias: [outputs, components] and [outputs].

    Returns:
        weight [outputs, dim] and bias [outputs].
    """
    from safetensors.numpy import load_file

    if not (folder / PROJECTION).exists():
        return weight, bias
    first = load_file(folder / PROJECTION)
    return np.ascontiguousarray(weight @ first["weight"]), weight @ first["bias"] + bias
