"""Distillation with patience: twice as long in larger steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressors.distill import Distill


@dataclass(frozen=True)
class DistillLong(Distill):
    """`distill:N` for four epochs at 2e-4 (a patient teacher: Beyer et al. 2021, arXiv 2106.05237)."""

    name: ClassVar[str] = "distill-long"

    epochs: int = 4
    learning_rate: float = 2e-4
