"""Artifacts of the tiny task, and what lies in their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compressors.building import build
from models.artifact import Artifact, open_artifact
from models.predictors import load_predictor
from tasks import TASKS

FEW_STEPS = 8
"""What MiniLM trains for: its shapes matter here, not its quality, and each step takes a second."""


def made(recipe: str, model: str = "tiny-bert", task: str = "tiny", *, seed: int = 0) -> Artifact:
    """Build a recipe, unless the tests' store has it."""
    model = "none" if recipe in ("majority", "tfidf-logistic") else model
    with pytest.MonkeyPatch.context() as patch:
        if model.startswith("minilm"):
            patch.setattr("models.training.MIN_STEPS", FEW_STEPS)
        return open_artifact(Path(build(recipe, model, task, seed, "cpu", 1, lambda *_: None)))


def header(artifact: Artifact) -> dict[str, Any]:
    """Read dtypes and shapes as they lie in the safetensors file."""
    data = (artifact.folder / "model.safetensors").read_bytes()
    tensors = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors.pop("__metadata__", None)
    return tensors


def predict(artifact: Artifact, n: int = 40) -> np.ndarray:
    """Compute the logits of the first texts of the test split, on one thread."""
    texts = [e.text for e in TASKS["tiny"].splits()["test"][:n]]
    return load_predictor(artifact, "cpu", 1).predict(texts)


def margin_gap(logits: np.ndarray, teacher: np.ndarray) -> float:
    """Return how far a student's margins between two classes are from its teacher's, on average."""
    return float(np.abs(np.diff(logits) - np.diff(teacher)).mean())
