"""A zipped artifact: unpacked to a folder that goes away once its own runtime has loaded it."""

from __future__ import annotations

from models.artifact import Artifact
from models.predictors import Predictor, load_predictor
from models.zipped import unpacked


def load(artifact: Artifact, device: str, threads: int) -> Predictor:
    """Unpack and load; weights that are mapped into memory stay there when their file goes."""
    with unpacked(artifact) as inner:
        return load_predictor(inner, device, threads)
