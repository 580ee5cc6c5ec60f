"""Dynamic int8 of ONNX Runtime: weights and embeddings int8, activations quantized at each call."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.onnx_export import ONNX, OnnxExport
from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class OnnxInt8(Step):
    """Post-training dynamic quantization of an ONNX graph, embedding tables included.

    Q8BERT's numbers (Zafrir et al. 2019, arXiv 1910.06188), without its training.
    """

    name: ClassVar[str] = "onnx-int8"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH, ONNX)
    produces: ClassVar[str | None] = "onnx-int8"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx", "onnxruntime")
    starts_with: ClassVar[type[Step] | None] = OnnxExport
    version: ClassVar[int] = 4

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        # ONNX Runtime's quantizer advises a pre-process that fails on BERT.
        logging.getLogger().setLevel(logging.ERROR)
        self.quantize(source, workbench)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces)

    def quantize(self, source: Artifact, workbench: Workbench) -> None:
        """Write the quantized graph to the workbench's folder."""
        from onnxruntime.quantization import QuantType, quantize_dynamic

        target = workbench.folder / "model.onnx"
        quantize_dynamic(
            self.to_quantize(source.folder / "model.onnx"),
            target,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )

    def to_quantize(self, graph: Path) -> Any:
        """Return what becomes int8: the exported graph's file, or a model that was made of it."""
        return graph
