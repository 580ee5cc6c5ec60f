"""Networks as other runtimes want them: token ids and mask in, logits out, nothing computed in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from models.artifact import FIRST_TOKEN
from models.networks import layers_of, load_classifier

FIRST_TOKEN_LAYERS = ("bert", "roberta", "xlm-roberta", "electra")
"""Architectures whose head reads the first token alone, with layers as `FirstTokenLayer` knows them."""


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
        if network.config.model_type in FIRST_TOKEN_LAYERS:
            self.facts["last_layer"] = FIRST_TOKEN
            layers = layers_of(network)
            layers[-1] = FirstTokenLayer(layers[-1])
        self.eval()

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Ids and mask [batch, tokens] to logits [batch, outputs]."""
        return self.network(input_ids=input_ids, attention_mask=attention_mask).logits


class FirstTokenLayer(nn.Module):
    """A BERT layer that attends to all tokens and computes one: [batch, tokens, hidden] to [batch, 1, hidden]."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None, *_: Any, **__: Any
    ) -> torch.Tensor:
        attention = self.layer.attention
        first = hidden[:, :1]
        query, key, value = (
            linear(tokens).unflatten(-1, (-1, attention.self.attention_head_size)).transpose(1, 2)
            for linear, tokens in (
                (attention.self.query, first),
                (attention.self.key, hidden),
                (attention.self.value, hidden),
            )
        )  # [batch, heads, tokens, head]
        mask = attention_mask if attention_mask is None else attention_mask[:, :, :1]
        heard = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attention.output(heard.transpose(1, 2).flatten(2), first)
        return self.layer.output(self.layer.intermediate(attended), attended)


def load_for_export(folder: Path, outputs: int) -> LogitsOnly:
    """Load a fine-tuned classifier, ready to be traced."""
    return LogitsOnly(load_classifier(folder, outputs))


def example() -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and a mask with padding, [2, 16], to trace with."""
    ids = torch.ones(2, 16, dtype=torch.int64)
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 8:] = 0
    return ids, mask
