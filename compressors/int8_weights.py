"""int8 weights alone: a quarter of the bytes, arithmetic in fp32."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.fp8 import Fp8
    from compressors.int4_weights import Int4Weights
    from compressors.int8_compiled import Int8Compiled
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Int8Weights(Step):
    """Round the weights to int8 with one scale a row (LLM.int8's storage, arXiv 2208.07339).

    Activations stay in fp32, so each product first converts the weights: on a CPU it saves bytes,
    not time. The rows of the word embeddings are converted when they are looked up.
    """

    name: ClassVar[str] = "int8-weights"
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-int8-weights"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "torchao")
    extras: ClassVar[dict[str, str]] = {"torchao": "torchao"}

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from torchao.quantization import Int8WeightOnlyConfig, quantize_

        from models.networks import load_classifier

        assert source
        network = load_classifier(source.folder, workbench.outputs)
        quantize_(network, Int8WeightOnlyConfig(set_inductor_config=False))
        return store(self, network, source, workbench)


def store(
    step: Int8Weights | Int8Compiled | Int4Weights | Fp8,
    network: Any,
    source: Artifact,
    workbench: Workbench,
    group: int | None = None,
) -> Artifact:
    """Write a network whose linear layers torchao has quantized, its large tables in int8 too.

    Args:
        group: neighbouring values of a table's row that share a scale: then it is int4.
    """
    from models import torchao_weights
    from models.quantized_tables import quantize_tables

    quantize_tables(network, group)
    torchao_weights.save(network, workbench.folder)
    workbench.keep(source, "tokenizer.json")
    return workbench.seal(source, format=step.produces)
