"""int4 weights alone: two a byte, arithmetic in bfloat16."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.int8_weights import store
from compressors.step import PYTORCH, Plan, Step, Unsupported

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

OUTPUTS = 16
"""The kernel takes so many outputs at a time; a layer with others is stored in int8."""


@dataclass(frozen=True)
class Int4Weights(Step):
    """Round weights and word embeddings to the nearest int4, with one scale a group.

    What GPTQ is compared with (Frantar et al. 2022, arXiv 2210.17323). Zero stays zero. What the
    kernel cannot take (the head, an FFN of odd width) and tables of odd width are int8.
    """

    name: ClassVar[str] = "int4-weights"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-int4-weights"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "torchao")
    extras: ClassVar[dict[str, str]] = {"torchao": "torchao"}
    version: ClassVar[int] = 2

    group: int = 32
    """Neighbouring weights of a row that share a scale: 32, 64 or 128."""

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if plan.shape and plan.shape.hidden % self.group:
            raise Unsupported(
                f"{self} needs a hidden size that {self.group} divides; "
                f"this model's is {plan.shape.hidden}"
            )
        return plan

    def fits(self, module: Any, _: str) -> bool:
        """Say whether the kernel takes a layer."""
        import torch

        return (
            isinstance(module, torch.nn.Linear)
            and module.in_features % self.group == 0
            and module.out_features % OUTPUTS == 0
        )

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch
        from torchao.quantization import (
            Int8WeightOnlyConfig,
            IntxWeightOnlyConfig,
            PerGroup,
            quantize_,
        )

        from models.networks import load_classifier

        assert source
        network = load_classifier(source.folder, workbench.outputs, dtype=torch.bfloat16)
        int4 = IntxWeightOnlyConfig(torch.int4, PerGroup(self.group))  # type: ignore[attr-defined]
        others = Int8WeightOnlyConfig(set_inductor_config=False)
        quantize_(
            network, others, lambda m, n: isinstance(m, torch.nn.Linear) and not self.fits(m, n)
        )
        quantize_(network, int4, self.fits)
        return store(self, network, source, workbench, self.group)
