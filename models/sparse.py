"""Zeros in an encoder's weight matrices: which are chosen, and how they outlive training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.networks import layers_of

if TYPE_CHECKING:
    import torch


def layer_matrices(network: Any) -> list[torch.nn.Linear]:
    """Return the linear maps of a classifier's Transformer layers: not its embeddings, not its head."""
    from torch import nn

    return [part for part in layers_of(network).modules() if isinstance(part, nn.Linear)]


def lowest(scores: torch.Tensor, share: float) -> torch.Tensor:
    """Mark the share of the lowest scores of each row, [rows, columns]."""
    import torch

    count = round(share * scores.shape[-1])
    places = scores.topk(count, largest=False, sorted=False).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, places, True)


def keep_zeros(network: Any) -> None:
    """Let every weight of the linear maps that is zero now stay zero while the network trains.

    Without a gradient AdamW leaves a zero as it is: its momentum and its decayed value are zero too.
    Frozen weights need nothing, so freeze first.
    """
    for linear in layer_matrices(network):
        zeros = linear.weight.detach() == 0
        if linear.weight.requires_grad and zeros.any():
            linear.weight.register_hook(
                lambda gradient, zeros=zeros: gradient.masked_fill(zeros.to(gradient.device), 0)
            )
