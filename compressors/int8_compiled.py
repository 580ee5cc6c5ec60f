"""W8A8 of torchao, compiled: int8 weights and activations, the arithmetic between them fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.compile import needs_compiler
from compressors.int8_weights import store
from compressors.step import PYTORCH, Plan, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Int8Compiled(Step):
    """Post-training quantization, one scale a row of weights and a token of activations.

    Dynamic quantization as in Zafrir et al. 2019 (arXiv 1910.06188), one scale a token as in Yao et
    al. 2022 (ZeroQuant, arXiv 2206.01861). `torch.compile` fuses what lies between the integer
    products; without it the same network is slower than fp32.
    """

    name: ClassVar[str] = "int8-compiled"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-int8-compiled"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "torchao")
    extras: ClassVar[dict[str, str]] = {"torchao": "torchao"}

    def plan(self, before: Plan, device: str) -> Plan:
        needs_compiler()
        return super().plan(before, device)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

        from models.networks import load_classifier

        assert source
        network = load_classifier(source.folder, workbench.outputs)
        quantize_(network, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
        return store(self, network, source, workbench)
