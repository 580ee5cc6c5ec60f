"""A cascade: the small model answers, and the large one where the small one is not sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from models.artifact import Artifact
from models.cascade import confidence_of, parts_of
from models.predictors import Predictor, load_predictor, predict_in_batches


@dataclass
class CascadePredictor:
    """Two predictors, whatever runs them."""

    small: Predictor
    large: Predictor
    confidence: float

    def encode(self, texts: list[str]) -> tuple[list[str], Any]:
        return texts, self.small.encode(texts)

    def forward(self, batch: tuple[list[str], Any]) -> np.ndarray:
        texts, tokens = batch
        logits = np.array(self.small.forward(tokens))
        unsure = np.flatnonzero(highest_probability(logits) < self.confidence)
        if unsure.size:
            logits[unsure] = self.large.forward(self.large.encode([texts[i] for i in unsure]))
        return logits

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)


def highest_probability(logits: np.ndarray) -> np.ndarray:
    """Return each row's highest probability: [n, classes] to [n]."""
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def load(artifact: Artifact, device: str, threads: int) -> CascadePredictor:
    """Load both models of a cascade."""
    small, large = (load_predictor(part, device, threads) for part in parts_of(artifact))
    return CascadePredictor(small, large, confidence_of(artifact))
