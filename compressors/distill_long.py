"""Distillation with patience: four times as long, for the chains whose students lack it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressors.distill import Distill


@dataclass(frozen=True)
class DistillLong(Distill):
    """`distill:N` for four epochs (Beyer et al. 2021, arXiv 2106.05237: a patient teacher is better)."""

    name: ClassVar[str] = "distill-long"

    epochs: int = 4
