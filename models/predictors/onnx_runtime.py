"""ONNX Runtime: `model.onnx` with inputs input_ids and attention_mask, output logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.artifact import Artifact
from models.predictors import predict_in_batches
from models.tokenization import Tokens, load_tokenizer, pad, tokenize

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass
class OnnxPredictor:
    """An inference session and its tokenizer."""

    session: Any
    tokenizer: Tokenizer
    pad_id: int

    def encode(self, texts: list[str]) -> Tokens:
        return pad(tokenize(self.tokenizer, texts), self.pad_id)

    def forward(self, batch: Tokens) -> np.ndarray:
        return self.session.run(["logits"], batch._asdict())[0]

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)


def load(artifact: Artifact, device: str, threads: int) -> OnnxPredictor:
    """Load an ONNX artifact on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        artifact.folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    tokenizer = load_tokenizer(artifact.folder, artifact.manifest["max_tokens"])
    return OnnxPredictor(session, tokenizer, artifact.manifest["pad_id"])
