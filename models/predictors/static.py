"""Static embeddings with a folded head: a look-up and a mean, by tokenizers and NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from models import static_table
from models.artifact import Artifact
from models.predictors import predict_in_batches
from models.static_table import Words
from models.tokenization import load_tokenizer, tokenize

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class StaticPredictor:
    """A row of logits a token; a text's logits are their mean and the intercept."""

    tokenizer: Tokenizer
    unknown_id: int | None
    table: np.ndarray  # [vocabulary, classes]
    intercept: np.ndarray  # [classes]

    def encode(self, texts: list[str]) -> Words:
        return static_table.lay_end_to_end(tokenize(self.tokenizer, texts), self.unknown_id)

    def forward(self, batch: Words) -> np.ndarray:
        return static_table.mean(self.table, batch) + self.intercept

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)


def load(artifact: Artifact, device: str, threads: int) -> StaticPredictor:
    """Load a `static-linear` artifact; it runs on one thread of the CPU."""
    tensors = static_table.load(artifact.folder)
    tokenizer = load_tokenizer(artifact.folder, artifact.manifest["max_tokens"])
    unknown_id = artifact.manifest["unknown_id"]
    return StaticPredictor(tokenizer, unknown_id, tensors["embeddings"], tensors["intercept"])
