"""The patiently distilled student's control: the same layers, as many and as large steps, no teacher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressors.distill import Distill
from compressors.distill_long import DistillLong
from compressors.student import Student


@dataclass(frozen=True)
class StudentLong(Student):
    """`student:N` in as many steps as four epochs of `distill-long:N`, at its 2e-4, without a teacher."""

    name: ClassVar[str] = "student-long"
    like: ClassVar[type[Distill]] = DistillLong

    learning_rate: float = DistillLong.learning_rate
