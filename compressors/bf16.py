"""bfloat16 weights and arithmetic: half the bytes, and faster where the processor has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Bf16(Step):
    """Store and compute in bfloat16 (Kalamkar et al. 2019, arXiv 1905.12322)."""

    name: ClassVar[str] = "bf16"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-bf16"

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch

        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, dtype=torch.bfloat16)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces)
