"""A cascade of two models: the small one answers what it is sure of, the large one the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Plan, Step, Unsupported, headline

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

SMALLER = ("distillation", "pruning", "factorization", "activation", "shorter inputs")
"""Families of the steps that the large model does without."""


@dataclass(frozen=True)
class Cascade(Step):
    """Ask the chain without its student where the student's highest probability is below N.

    Complete models one behind the other (Li et al. 2021, arXiv 2012.14682), instead of exits between
    layers (Xin et al. 2020, arXiv 2004.12993): any two that a chain makes will do, each as quantized
    as the other. `finetune+distill:3+onnx-int8+cascade:0.7` asks `finetune+onnx-int8` where
    `finetune+distill:3+onnx-int8` is less than 70 % sure. The files are those of both: a cascade
    buys time, not bytes, and its slowest answers are slower than the large model's.
    """

    name: ClassVar[str] = "cascade"
    family: ClassVar[str] = "cascade"
    accepts: ClassVar[tuple[str, ...]] = (
        PYTORCH,
        "pytorch-bf16",
        "pytorch-int8",
        "onnx",
        "onnx-int8",
        "onnx-int4",
        "openvino",
        "openvino-bf16",
        "openvino-int8",
        "openvino-int4",
    )
    produces: ClassVar[str | None] = "cascade"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ()

    confidence: float = headline(0.7, low=0.5, high=0.999)

    def plan(self, before: Plan, device: str) -> Plan:
        if before.kind != "classification":
            raise Unsupported(f"{self} needs probabilities, and a {before.kind} has none")
        return super().plan(before, device)

    def other_source(self, before: tuple[Step, ...]) -> tuple[Step, ...]:
        first = next((step for step in before if step.teaches), None)
        rest = tuple(
            step
            for step in before
            if step.family not in SMALLER and (step is first or not step.teaches)
        )
        if first is None or not any(step.family in SMALLER for step in before):
            raise Unsupported(
                f"{self} asks the chain without its student where that is unsure: a fine-tuned "
                "network must come first, then what makes it smaller ('finetune+distill:3+…')"
            )
        return rest

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.cascade import write

        assert source
        (large,) = workbench.others
        write(workbench.folder, source, large, self.confidence)
        # What a text costs depends on the text: no one network's shape tells it.
        return workbench.seal(source, format=self.produces, shape=None)
