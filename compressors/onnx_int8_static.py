"""Static int8 of ONNX Runtime: the ranges of activations are measured once, on training texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.onnx_export import ONNX, exported
from compressors.onnx_int8 import ONNX_INT8
from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

LOOKED_UP_AND_MULTIPLIED = ["MatMul", "Gemm", "Gather"]


@dataclass(frozen=True)
class OnnxInt8Static(Step):
    """Post-training static quantization (Jacob et al. 2017, arXiv 1712.05877), embeddings included.

    No call measures its activations, as `onnx-int8` does; what lies outside the measured ranges is
    cut off.
    """

    name: ClassVar[str] = "onnx-int8-static"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH, ONNX)
    produces: ClassVar[str | None] = ONNX_INT8
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx", "onnxruntime")

    calibration_texts: int = 128

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.calibrate import CalibrationDataReader

        from compressors.sample import calibration

        class Texts(CalibrationDataReader):
            def __init__(self, batches: list) -> None:
                self.batches = iter(batches)

            def get_next(self) -> dict | None:
                return next(self.batches, None)

        assert source
        with exported(source, workbench) as (graph, facts):
            texts = calibration(workbench, source, facts["pad_id"], self.calibration_texts)
            quantize_static(
                graph,
                workbench.folder / "model.onnx",
                Texts(texts),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=LOOKED_UP_AND_MULTIPLIED,
                extra_options={"MatMulConstBOnly": True},
            )
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=ONNX_INT8, **facts)
