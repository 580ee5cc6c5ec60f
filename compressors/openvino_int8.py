"""int8 for OpenVINO: weights, embeddings and activations, with ranges measured on training texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.openvino_export import OPENVINO, open_or_convert, write
from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

OPENVINO_INT8 = "openvino-int8"


@dataclass(frozen=True)
class OpenVinoInt8(Step):
    """NNCF's post-training quantization (Kozlov et al. 2020, arXiv 2002.08679), embeddings included.

    Unlike dynamic quantization the scale of an activation is fixed: no call measures it again.
    """

    name: ClassVar[str] = "openvino-int8"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH, OPENVINO)
    produces: ClassVar[str | None] = OPENVINO_INT8
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "openvino", "nncf")
    extras: ClassVar[dict[str, str]] = {"openvino": "openvino", "nncf": "openvino"}

    calibration_texts: int = 300

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        model, facts = open_or_convert(source, workbench.outputs)
        model = quantize(model, source, workbench, facts["pad_id"], self.calibration_texts)
        return write(model, source, workbench, format=OPENVINO_INT8, **facts)


def quantize(
    model: Any,
    source: Artifact,
    workbench: Workbench,
    pad_id: int,
    texts: int,
    ignored: list[str] | None = None,
) -> Any:
    """Quantize weights to int8 and activations to the ranges that the training texts show.

    Args:
        texts: how many of them are read, one at a time.
        ignored: names of operations that stay as they are.
    """
    import nncf

    from compressors.sample import calibration

    nncf.set_log_level(40)
    return nncf.quantize(
        model,
        nncf.Dataset(calibration(workbench, source, pad_id, texts)),
        subset_size=texts,
        model_type=nncf.ModelType.TRANSFORMER,
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(names=ignored or []),
    )
