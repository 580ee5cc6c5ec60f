"""Dynamic int8 of ONNX Runtime: weights and embeddings int8, activations quantized at each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.onnx_export import ONNX, exported
from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

ONNX_INT8 = "onnx-int8"


@dataclass(frozen=True)
class OnnxInt8(Step):
    """Post-training dynamic quantization of an ONNX graph, embedding tables included.

    Q8BERT's numbers (Zafrir et al. 2019, arXiv 1910.06188), without its training.
    """

    name: ClassVar[str] = "onnx-int8"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH, ONNX)
    produces: ClassVar[str | None] = ONNX_INT8
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx", "onnxruntime")
    version: ClassVar[int] = 2

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from onnxruntime.quantization import QuantType, quantize_dynamic

        assert source
        with exported(source, workbench) as (graph, facts):
            target = workbench.folder / "model.onnx"
            quantize_dynamic(graph, target, weight_type=QuantType.QInt8, per_channel=True)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=ONNX_INT8, **facts)
