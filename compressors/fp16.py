"""float16 weights and arithmetic, for GPUs: half the bytes, and their tensor cores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Fp16(Step):
    """Store and compute in float16 (Micikevicius et al. 2017, arXiv 1710.03740)."""

    name: ClassVar[str] = "fp16"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-fp16"
    devices: ClassVar[tuple[str, ...]] = ("cuda", "mps")

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch

        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, dtype=torch.float16)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces)
