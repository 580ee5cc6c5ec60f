"""Dynamic int8 of PyTorch: int8 weights in every linear layer, activations quantized at each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Int8(Step):
    """Post-training dynamic quantization (Zafrir et al. 2019, arXiv 1910.06188, of the linear layers).

    Embeddings stay in fp32: they are looked up, not multiplied.
    """

    name: ClassVar[str] = "int8"
    version: ClassVar[int] = 2
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
