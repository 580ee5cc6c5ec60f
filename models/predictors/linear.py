"""Linear models on counted words, and constants: the controls that need no network."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from models import linear_head
from models.artifact import Artifact
from models.predictors import predict_in_batches


@dataclass
class LinearPredictor:
    """TF-IDF weights and a linear map; without a vocabulary, the intercept alone."""

    vectorizer: Any | None
    coef: np.ndarray  # [classes, features]
    intercept: np.ndarray  # [classes]

    def encode(self, texts: list[str]) -> Any:
        if self.vectorizer is None:
            return np.zeros((len(texts), 0), dtype=np.float32)
        return self.vectorizer.transform(texts)

    def forward(self, batch: Any) -> np.ndarray:
        return np.asarray(batch @ self.coef.T + self.intercept, dtype=np.float32)

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)


def load(artifact: Artifact, device: str, threads: int) -> LinearPredictor:
    """Load a `linear` artifact; it runs on one thread of the CPU."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    coef, intercept = linear_head.load(artifact.folder)
    stored = artifact.folder / "tfidf.json"
    if not stored.exists():
        return LinearPredictor(None, coef, intercept)
    tfidf = json.loads(stored.read_text(encoding="utf-8"))
    vectorizer = TfidfVectorizer(
        **{**tfidf["settings"], "ngram_range": tuple(tfidf["settings"]["ngram_range"])},
        vocabulary=tfidf["vocabulary"],
        dtype=np.float32,
    )
    vectorizer.idf_ = np.asarray(tfidf["idf"], dtype=np.float32)
    return LinearPredictor(vectorizer, coef, intercept)
