"""bfloat16 for OpenVINO: half the bytes, and faster where the processor multiplies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.openvino_export import MODEL, OPENVINO, OpenVinoExport, write
from compressors.step import PYTORCH, Plan, Step, Unsupported
from models.processor import cpu_flags

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

INSTRUCTIONS = ("avx512_bf16", "amx_bf16")
"""Without any of them bf16 is fp32 to OpenVINO, or emulated."""


@dataclass(frozen=True)
class OpenVinoBf16(Step):
    """Store in half precision and compute in bfloat16 (Kalamkar et al. 2019, arXiv 1905.12322).

    It is what OpenVINO does unasked on a processor that multiplies bfloat16; `openvino` and the
    quantized formats keep it to fp32 outside of their integers. The file has float16, which is what
    OpenVINO stores; it is converted when the model is compiled.
    """

    name: ClassVar[str] = "openvino-bf16"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH, OPENVINO)
    produces: ClassVar[str | None] = "openvino-bf16"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "openvino")
    extras: ClassVar[dict[str, str]] = {"openvino": "openvino"}

    starts_with: ClassVar[type[Step] | None] = OpenVinoExport

    def plan(self, before: Plan, device: str) -> Plan:
        if cpu_flags().isdisjoint(INSTRUCTIONS):
            raise Unsupported(f"{self} needs a processor with {' or '.join(INSTRUCTIONS)}")
        return super().plan(before, device)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import openvino

        assert source
        model = openvino.Core().read_model(source.folder / MODEL)
        return write(model, source, workbench, halved=True, format=self.produces)
