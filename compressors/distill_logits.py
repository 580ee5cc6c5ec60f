"""Distillation from logits alone: what the hidden states add is the difference to `distill`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.distill import FewerLayers
from compressors.teaching import logit_error, teach

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact
    from models.training import Loss


@dataclass(frozen=True)
class DistillLogits(FewerLayers):
    """Distil into `layers` layers by softened logits only (Hinton et al. 2015, arXiv 1503.02531)."""

    name: ClassVar[str] = "distill-logits"

    def learn(
        self, student: Any, taught: list[float], source: Artifact, workbench: Workbench
    ) -> None:
        loss = logits_only(workbench.teacher or source, self.temperature, workbench)
        teach(self, student, loss, source, workbench, first_token=True)


def logits_only(teacher: Artifact, temperature: float, workbench: Workbench) -> Loss:
    """Make the loss of a student against its teacher's logits and nothing else."""
    error = logit_error(teacher, temperature, workbench)

    def loss(student: Any, batch: dict[str, Any]) -> Any:
        made = student(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        return error(made.logits, batch)

    return loss
