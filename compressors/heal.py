"""Healing: what is left of a network after pruning or trimming learns from the network before it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.distill import teach_states
from compressors.step import PYTORCH, Plan, Step, Unsupported, headline
from compressors.teaching import write_student
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Heal(Step):
    """Train the network as it is, of the same shape, by the recipe's fine-tuned teacher, N epochs.

    Recovery by distillation (Sanh et al. 2020, arXiv 2005.07683; Xia et al. 2022, arXiv 2204.00408):
    the same logits and hidden states as `distill`, no layer removed. Weights that are zero stay so.
    """

    name: ClassVar[str] = "heal"
    version: ClassVar[int] = 3
    family: ClassVar[str] = "distillation"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = PYTORCH
    architectures: ClassVar[Collection[str] | None] = LAYERS
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate")

    epochs: int = headline(1, low=1, high=50)
    learning_rate: float = 1e-4
    temperature: float = 2.0
    hidden_weight: float = 1.0

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if plan.teacher is None:
            raise Unsupported(
                f"{self} needs a teacher: a fine-tuned network before it ('finetune')"
            )
        return plan

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import layers_of, load_classifier

        assert source
        student = load_classifier(source.folder, workbench.outputs)
        layers = len(layers_of(student))
        taught = [(layer + 1) / layers for layer in range(layers)]
        teach_states(self, student, taught, source, workbench)
        return workbench.seal(source, **write_student(self, student, source, workbench))
