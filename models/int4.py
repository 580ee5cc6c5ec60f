"""Values of four bits, two a byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def pack_int4(values: torch.Tensor) -> torch.Tensor:
    """Put values from -8 to 7 [..., n] two a byte, uint8 [..., n / 2].

    Each has 8 added to it, and the even one is the low half.
    """
    import torch

    codes = (values + 8).to(torch.uint8)
    return codes[..., ::2] | codes[..., 1::2] << 4


def unpack_int4(packed: torch.Tensor) -> torch.Tensor:
    """Return the values of `pack_int4`'s bytes, int32 [..., n]."""
    import torch

    return torch.stack([packed & 15, packed >> 4], dim=-1).flatten(-2).to(torch.int32) - 8
