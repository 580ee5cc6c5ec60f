"""A stronger teacher: what a larger model has learnt of the task, a small one can learn from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.as_is import AsIs
from compressors.finetune import Finetune
from compressors.step import PYTORCH, Step, headline_name
from models import MODELS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Tutor(Step):
    """Let another model, fine-tuned on the task, teach beside the recipe's own network from here on.

    No weight changes: every distillation after it learns the mean of both networks' logits (Hinton
    et al. 2015, arXiv 1503.02531), and hidden states from its own, which the student starts from:
    `finetune+tutor:mpnet-base+distill-long:3`. What it brings is in docs/frontier.md.
    """

    name: ClassVar[str] = "tutor"
    family: ClassVar[str] = "distillation"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = None
    libraries: ClassVar[tuple[str, ...]] = ()
    others_teach: ClassVar[bool] = True

    model: str = headline_name("mpnet-base", choices=MODELS)

    @property
    def other_model(self) -> str | None:
        return self.model

    def other_source(self, before: tuple[Step, ...]) -> tuple[Step, ...]:
        return (AsIs() if MODELS[self.model].head is not None else Finetune(),)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        workbench.keep(source, *(file["name"] for file in source.manifest["files"]))
        return workbench.seal(source)
