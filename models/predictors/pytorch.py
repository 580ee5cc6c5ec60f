"""PyTorch: fp32, bf16 and dynamically quantized int8 networks, and encoders with a linear head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models import dynamic_int8, linear_head, torchao_weights
from models.artifact import Artifact
from models.networks import load_classifier, load_encoder, mean_pool
from models.predictors import predict_in_batches
from models.tokenization import Tokens, load_tokenizer, pad, tokenize

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer


@dataclass
class PyTorchPredictor:
    """A classifier of transformers on a device."""

    network: Any
    tokenizer: Tokenizer
    device: str

    def encode(self, texts: list[str]) -> Tokens:
        return pad(tokenize(self.tokenizer, texts), self.network.config.pad_token_id or 0)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """input_ids and attention_mask [batch, tokens] to logits [batch, classes]."""
        return self.network(input_ids=ids, attention_mask=mask).logits

    def forward(self, batch: Tokens) -> np.ndarray:
        import torch

        with torch.inference_mode():
            ids = torch.from_numpy(batch.input_ids).to(self.device)
            mask = torch.from_numpy(batch.attention_mask).to(self.device)
            # .cpu() waits for the device: the logits are there when the call returns.
            return self.logits(ids, mask).float().cpu().numpy()

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)


@dataclass
class FeaturesPredictor(PyTorchPredictor):
    """A frozen encoder, mean pooling and a linear head."""

    coef: torch.Tensor  # [classes, hidden]
    intercept: torch.Tensor  # [classes]

    def logits(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        return mean_pool(hidden, mask) @ self.coef.T + self.intercept


def load(artifact: Artifact, device: str, threads: int) -> PyTorchPredictor:
    """Load a PyTorch artifact on `cpu`, `cuda` or `mps`."""
    import torch

    torch.set_num_threads(threads)
    folder, outputs = artifact.folder, artifact.manifest["outputs"]
    tokenizer = load_tokenizer(folder, artifact.manifest["max_tokens"])
    if artifact.format == "pytorch-linear":
        coef, intercept = (torch.from_numpy(a).to(device) for a in linear_head.load(folder))
        encoder = load_encoder(folder).to(device)
        return FeaturesPredictor(encoder, tokenizer, device, coef, intercept)
    if artifact.format == "pytorch-int8":
        return PyTorchPredictor(dynamic_int8.load(folder), tokenizer, device)
    if artifact.format in torchao_weights.FORMATS:
        network = torchao_weights.load(folder, outputs, artifact.format)
        return PyTorchPredictor(network.to(device), tokenizer, device)
    return PyTorchPredictor(load_classifier(folder, outputs).to(device), tokenizer, device)
