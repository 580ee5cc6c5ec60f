"""Distillation from an ensemble: what several fine-tunings agree on is less a matter of luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressors.distill_long import DistillLong
from compressors.step import Plan, Step, Unsupported, teaching


@dataclass(frozen=True)
class DistillEnsemble(DistillLong):
    """`distill-long:N`, by the mean logits of three teachers that differ in their seed alone.

    Hinton et al. 2015, arXiv 1503.02531; why a student can learn what an ensemble knows: Allen-Zhu
    and Li 2020, arXiv 2012.09816. The recipe's own fine-tuned network is one of them, and shows its
    hidden states; the other two are fine-tuned for it, and kept.
    """

    name: ClassVar[str] = "distill-ensemble"
    other_seeds: ClassVar[tuple[int, ...]] = (1000, 2000)

    def plan(self, before: Plan, device: str) -> Plan:
        if before.as_is:
            raise Unsupported(
                f"{self} fine-tunes two more teachers, and this model is fine-tuned already: "
                f"'distill-long:{self.layers}' has one"
            )
        return super().plan(before, device)

    def other_source(self, before: tuple[Step, ...]) -> tuple[Step, ...]:
        if not (makes_teacher := teaching(before)):
            raise Unsupported(f"{self} needs a fine-tuned network before it: 'finetune+{self}'")
        return makes_teacher
