"""OpenVINO: `openvino.xml` and `.bin` with inputs input_ids and attention_mask, output logits."""

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
class OpenVinoPredictor:
    """A compiled model and its tokenizer."""

    request: Any
    tokenizer: Tokenizer
    pad_id: int

    def encode(self, texts: list[str]) -> Tokens:
        return pad(tokenize(self.tokenizer, texts), self.pad_id)

    def forward(self, batch: Tokens) -> np.ndarray:
        logits = self.request.infer(batch._asdict(), share_inputs=True, share_outputs=True)
        return np.array(logits[0])

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)


def load(artifact: Artifact, device: str, threads: int) -> OpenVinoPredictor:
    """Load an OpenVINO artifact on the CPU."""
    import openvino

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",  # else bf16 where the processor has it
    }
    compiled = openvino.Core().compile_model(artifact.folder / "openvino.xml", "CPU", settings)
    tokenizer = load_tokenizer(artifact.folder, artifact.manifest["max_tokens"])
    return OpenVinoPredictor(
        compiled.create_infer_request(), tokenizer, artifact.manifest["pad_id"]
    )
