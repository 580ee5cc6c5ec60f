"""Dynamic int8 of PyTorch: weights and embeddings int8, activations quantized at each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Int8(Step):
    """Post-training dynamic quantization (Zafrir et al. 2019, arXiv 1910.06188), embeddings included."""

    name: ClassVar[str] = "int8"
    version: ClassVar[int] = 3
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-int8"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models import dynamic_int8
        from models.networks import load_classifier

        assert source
        network = dynamic_int8.quantize(load_classifier(source.folder, workbench.outputs))
        dynamic_int8.save(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces)
