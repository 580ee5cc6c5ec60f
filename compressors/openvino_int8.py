"""int8 for OpenVINO: weights, embeddings and activations, with ranges measured on training texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.openvino_export import MODEL, OPENVINO, OpenVinoExport, write
from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class OpenVinoInt8(Step):
    """NNCF's post-training quantization (Kozlov et al. 2020, arXiv 2002.08679), embeddings included.

    Unlike dynamic quantization the scale of an activation is fixed: no call measures it again.
    """

    name: ClassVar[str] = "openvino-int8"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH, OPENVINO)
    produces: ClassVar[str | None] = "openvino-int8"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "openvino", "nncf")
    extras: ClassVar[dict[str, str]] = {"openvino": "openvino", "nncf": "openvino"}

    starts_with: ClassVar[type[Step] | None] = OpenVinoExport
    version: ClassVar[int] = 2

    calibration_texts: int = 300

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import openvino

        from compressors.sample import calibration

        assert source
        model = openvino.Core().read_model(source.folder / MODEL)
        texts = calibration(workbench, source, source.manifest["pad_id"], self.calibration_texts)
        return write(self.quantize(model, texts), source, workbench, format=self.produces)

    def quantize(self, model: Any, texts: list[dict[str, Any]], ignored: Sequence[str] = ()) -> Any:
        """Quantize weights to int8 and activations to the ranges that some texts show.

        Args:
            texts: the model's inputs, a text each.
            ignored: names of operations that stay as they are.
        """
        import nncf

        nncf.set_log_level(40)
        return nncf.quantize(
            model,
            nncf.Dataset(texts),
            subset_size=self.calibration_texts,
            model_type=nncf.ModelType.TRANSFORMER,
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=nncf.IgnoredScope(names=list(ignored)),
        )
