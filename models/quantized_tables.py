"""Embedding tables in int8 or int4: they are half of a small model's bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from models.int4 import pack_int4, unpack_int4

if TYPE_CHECKING:
    import torch

LARGE_TABLE = 1024
"""Rows from which on an embedding table is worth quantizing."""


def quantize_tables(network: Any, group: int | None = None) -> None:
    """Replace the large embedding tables in place, by int8 with one scale a row.

    Args:
        group: neighbouring values of a row that share a scale, in int4; a table whose width it does
            not divide is int8.
    """
    import torch

    for name, table in list(network.named_modules()):
        if isinstance(table, torch.nn.Embedding) and table.num_embeddings >= LARGE_TABLE:
            weight = table.weight.detach()
            narrow = group is not None and weight.shape[1] % group == 0
            groups = weight.unflatten(1, (-1, group if narrow else weight.shape[1]))
            most = 7 if narrow else 127
            scale = groups.float().abs().amax(dim=2, keepdim=True).clamp(min=1e-12) / most
            values = (groups / scale).round().to(torch.int8).flatten(1)
            rows = pack_int4(values) if narrow else values
            network.set_submodule(name, quantized_table(rows, scale[..., 0].to(weight.dtype)))


def quantized_table(rows: torch.Tensor, scale: torch.Tensor) -> torch.nn.Module:
    """Make an embedding that unpacks the rows that it looks up, in the scales' precision.

    Args:
        rows: int8 [rows, width], or uint8 [rows, width / 2], two int4 values a byte.
        scale: [rows, groups], one for each group of neighbouring values.
    """
    import torch
    from torch.nn.functional import embedding

    class QuantizedTable(torch.nn.Module):
        weight: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("weight", rows)
            self.register_buffer("scale", scale)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            found = embedding(ids, self.weight)
            if found.dtype == torch.uint8:
                found = unpack_int4(found)
            factor = embedding(ids, self.scale)  # [batch, tokens, groups]
            groups = found.to(factor.dtype).unflatten(-1, (factor.shape[-1], -1))
            return (groups * factor[..., None]).flatten(-2)  # [batch, tokens, width]

    return QuantizedTable()
