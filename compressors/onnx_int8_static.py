"""Static int8 of ONNX Runtime: the ranges of activations are measured once, on training texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.onnx_int8 import OnnxInt8

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

LOOKED_UP_AND_MULTIPLIED = ["MatMul", "Gemm", "Gather"]


@dataclass(frozen=True)
class OnnxInt8Static(OnnxInt8):
    """Post-training static quantization (Jacob et al. 2017, arXiv 1712.05877), embeddings included.

    No call measures its activations, as `onnx-int8` does; what lies outside the measured ranges is
    cut off.
    """

    name: ClassVar[str] = "onnx-int8-static"
    version: ClassVar[int] = 3

    calibration_texts: int = 128

    def quantize(self, source: Artifact, workbench: Workbench) -> None:
        """Write the quantized graph to the workbench's folder."""
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.calibrate import CalibrationDataReader

        from compressors.sample import calibration

        class Texts(CalibrationDataReader):
            def __init__(self, batches: list) -> None:
                self.batches = iter(batches)

            def get_next(self) -> dict | None:
                return next(self.batches, None)

        pad_id = source.manifest["pad_id"]
        quantize_static(
            source.folder / "model.onnx",
            workbench.folder / "model.onnx",
            Texts(calibration(workbench, source, pad_id, self.calibration_texts)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=LOOKED_UP_AND_MULTIPLIED,
            extra_options={"MatMulConstBOnly": True},
        )
