"""Embedding tables in int8, with a scale a row: they are half of a small model's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

LARGE_TABLE = 1024
"""Rows from which on an embedding table is worth storing in int8."""


def quantize_tables(network: Any) -> None:
    """Replace the large embedding tables by int8 rows with a scale each, in place."""
    import torch

    for name, table in list(network.named_modules()):
        if isinstance(table, torch.nn.Embedding) and table.num_embeddings >= LARGE_TABLE:
            weight = table.weight.detach()
            scale = weight.float().abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
            rows = (weight / scale).round().to(torch.int8)
            network.set_submodule(name, int8_table(rows, scale.to(weight.dtype)))


def int8_table(rows: torch.Tensor, scale: torch.Tensor) -> torch.nn.Module:
    """Make an embedding of int8 rows [rows, width] and scales [rows, 1], in the scales' precision."""
    import torch

    class Int8Table(torch.nn.Module):
        weight: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", rows)
            self.register_buffer("scale", scale)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            found = torch.nn.functional.embedding(ids, self.weight)  # [batch, tokens, width]
            factor = torch.nn.functional.embedding(ids, self.scale)  # [batch, tokens, 1]
            return found.to(factor.dtype) * factor

    return Int8Table()
