"""The distilled student's control: the same layers, as many steps, no teacher."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from compressors.distill import Distill, fewer_layers, keep_layers, shape_of
from compressors.finetune import name_labels
from compressors.step import PRETRAINED, PYTORCH, Plan, Step, headline
from compressors.teaching import TEXTS
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Student(Step):
    """Fine-tune every k-th layer of the pretrained model on the labels alone.

    What `distill:N` gains over `student:N` is what the teacher is worth.
    """

    name: ClassVar[str] = "student"
    version: ClassVar[int] = 4
    family: ClassVar[str] = "control"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED,)
    produces: ClassVar[str | None] = PYTORCH
    architectures: ClassVar[Collection[str] | None] = LAYERS
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate")

    like: ClassVar[type[Distill]] = Distill
    """Whose steps it takes as many of."""

    layers: int = headline(3, low=1, high=48)
    epochs: int | None = None
    """None: as many steps as `like`, which reads unlabelled text beside the training text."""
    learning_rate: float = 1e-4

    def plan(self, before: Plan, device: str) -> Plan:
        return replace(super().plan(before, device), shape=fewer_layers(self, before, self.layers))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier, save_network

        assert source
        student = load_classifier(source.folder, workbench.outputs, workbench.seed)
        keep_layers(student, self.layers)
        workbench.train(
            student,
            source,
            "train",
            epochs=self.epochs or self.epochs_of_as_many_steps(workbench),
            learning_rate=self.learning_rate,
            first_token=True,
        )
        name_labels(student, workbench)
        save_network(student, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=PYTORCH, shape=shape_of(student, source))

    def epochs_of_as_many_steps(self, workbench: Workbench) -> int:
        """Return the epochs of the training text alone that make as many steps as `like` takes."""
        taught, alone = (len(workbench.texts(*splits)) for splits in (TEXTS, ["train"]))
        return max(1, round(self.like.epochs * taught / alone))
