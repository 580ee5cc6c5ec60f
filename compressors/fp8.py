"""float8 weights and activations, for GPUs whose tensor cores multiply them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.int8_weights import store
from compressors.step import PYTORCH, Plan, Step, Unsupported

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

MULTIPLE = 16
"""Inputs and outputs of a layer come in multiples of it; a layer with others stays in bfloat16."""
CAPABILITY = (8, 9)
"""The first GPUs whose tensor cores multiply float8: Ada and Hopper."""


@dataclass(frozen=True)
class Fp8(Step):
    """E4M3 with one scale a row and a token (Micikevicius et al. 2022, arXiv 2209.05433).

    Word embeddings, which are looked up and not multiplied, are int8 as in `int8-weights`.
    """

    name: ClassVar[str] = "fp8"
    version: ClassVar[int] = 2
    family: ClassVar[str] = "quantization"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = "pytorch-fp8"
    devices: ClassVar[tuple[str, ...]] = ("cuda",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "torchao")
    extras: ClassVar[dict[str, str]] = {"torchao": "torchao"}

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if (found := capability()) is not None and found < CAPABILITY:
            least, has = (".".join(map(str, version)) for version in (CAPABILITY, found))
            raise Unsupported(
                f"{self} needs a GPU of compute capability {least}; this one has {has}"
            )
        if plan.shape and plan.shape.hidden % MULTIPLE:
            raise Unsupported(
                f"{self} needs a hidden size that {MULTIPLE} divides; "
                f"this model's is {plan.shape.hidden}"
            )
        return plan

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch
        from torchao.quantization import Float8WeightOnlyConfig, quantize_

        from models.networks import load_classifier

        assert source
        network = load_classifier(source.folder, workbench.outputs, dtype=torch.bfloat16)
        # The file holds weights; activations are quantized by the network that is loaded from it.
        quantize_(network, Float8WeightOnlyConfig(set_inductor_config=False), fits)
        return store(self, network, source, workbench)


def capability() -> tuple[int, int] | None:
    """Return the GPU's compute capability; None without one."""
    import torch

    return torch.cuda.get_device_capability() if torch.cuda.is_available() else None


def fits(module: Any, _: str) -> bool:
    """Say whether the kernel takes a layer."""
    import torch

    return (
        isinstance(module, torch.nn.Linear)
        and module.in_features % MULTIPLE == 0
        and module.out_features % MULTIPLE == 0
    )
