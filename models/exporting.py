"""Networks as other runtimes want them: token ids and mask in, logits out, nothing computed in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.artifact import FIRST_TOKEN
from models.first_token import compute_first_token, knows
from models.networks import load_classifier
from models.predictors.pytorch import PyTorchPredictor


class LogitsOnly(nn.Module):
    """A classifier with two inputs and one output.

    Of the last layer only the first token's output is computed, where the architecture is known:
    the head reads no other. The logits stay the same.
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.facts: dict[str, Any] = {"pad_id": int(network.config.pad_token_id or 0)}
        """What the manifest says of the exported graph."""
        if knows(network):
            self.facts["last_layer"] = FIRST_TOKEN
            compute_first_token(network)
        self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask [batch, tokens] to logits [batch, outputs]."""
        mask = self.scores(attention_mask) if knows(self.network) else attention_mask
        return self.network(input_ids=input_ids, attention_mask=mask).logits

    def scores(self, mask: torch.Tensor) -> torch.Tensor:
        """Return what a mask adds to the attention's scores, [batch, 1, 1, tokens].

        A network makes the same of it, in a handful of operations more.
        """
        dtype = self.network.dtype
        return (1 - mask[:, None, None, :].to(dtype)) * torch.finfo(dtype).min


class Whole(nn.Module):
    """A loaded predictor as one module: ids and mask [batch, tokens] in, float32 logits out."""

    def __init__(self, predictor: PyTorchPredictor) -> None:
        super().__init__()
        self.network = predictor.network
        self.predictor = predictor
        self.pad_id = int(predictor.network.config.pad_token_id or 0)
        self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        return self.predictor.logits(input_ids, attention_mask).float()


def load_for_export(folder: Path, outputs: int) -> LogitsOnly:
    """Load a fine-tuned classifier, ready to be traced."""
    return LogitsOnly(load_classifier(folder, outputs))


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and a mask with padding, [2, 16], to trace with."""
    ids = torch.ones(2, 16, dtype=torch.int64)
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 8:] = 0
    return ids, mask
