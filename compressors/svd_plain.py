"""Low-rank factorization that looks at the weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressors.svd import Svd


@dataclass(frozen=True)
class SvdPlain(Svd):
    """`svd:R` by the plain singular value decomposition (Eckart and Young 1936): its control."""

    name: ClassVar[str] = "svd-plain"

    activation_aware: bool = False
