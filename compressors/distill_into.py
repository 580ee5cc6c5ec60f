"""Distillation into another model: its own architecture, tokenizer and pretrained weights."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compressors.distill_logits import logits_only
from compressors.step import PYTORCH, Plan, Step, Unsupported, headline_name
from compressors.teaching import teach, write_student
from models import MODELS
from models.artifact import Artifact

if TYPE_CHECKING:
    from compressors.workbench import Workbench


@dataclass(frozen=True)
class DistillInto(Step):
    """Teach another pretrained model by softened logits (Hinton et al. 2015, arXiv 1503.02531).

    Logits belong to texts, so teacher and student need to share neither tokens nor layers: Turc et
    al. 2019 (arXiv 1908.08962) found a pretrained student to be worth most. A large model can teach
    a small one: `mpnet-base` with `finetune+distill-into:minilm-bert`.
    """

    name: ClassVar[str] = "distill-into"
    version: ClassVar[int] = 4
    family: ClassVar[str] = "distillation"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = PYTORCH
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate")

    model: str = headline_name("minilm-bert", choices=MODELS)
    epochs: int = 3
    learning_rate: float = 1e-4
    temperature: float = 2.0

    def plan(self, before: Plan, device: str) -> Plan:
        student = MODELS[self.model]
        if student.head is not None:
            raise Unsupported(f"{self}: {student.name} has a head of its own; an encoder can learn")
        plan = super().plan(before, device)
        return replace(plan, shape=student.shape, architecture=student.architecture, sparse=False)

    @property
    def becomes(self) -> str | None:
        return self.model

    def pins(self) -> list[str]:
        return [MODELS[self.model].revision]

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier

        assert source
        model = MODELS[self.model]
        with tempfile.TemporaryDirectory() as scratch:
            start = Artifact(Path(scratch), {"max_tokens": workbench.most_tokens(source)})
            model.start(start.folder, workbench.task.pairs)
            student = load_classifier(start.folder, workbench.outputs, workbench.seed)
            loss = logits_only(workbench.teacher or source, self.temperature, workbench)
            teach(self, student, loss, start, workbench, first_token=True)
            facts = write_student(self, student, start, workbench)
        # The student has nothing of the source's but the task and where its texts are cut.
        return workbench.seal(start, **facts, student=model.name, shape=model.shape.to_json())
