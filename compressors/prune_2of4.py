"""2:4 sparsity: two of every four weights become zero, the pattern of NVIDIA's sparse tensor cores."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.prune_wanda import input_norms
from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Prune2of4(Step):
    """Keep the two weights of the highest |weight| x input norm of every four inputs in a row.

    The pattern: Mishra et al. 2021, arXiv 2104.08378; the choice: Wanda (Sun et al. 2023, arXiv
    2306.11695). The name has no colon because a recipe puts a value behind one. The pattern is
    of use on CUDA alone, and to a kernel that skips it: the file is dense, and PyTorch's dense
    kernels multiply its zeros as any other number.
    """

    name: ClassVar[str] = "prune-2of4"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    makes_zeros: ClassVar[bool] = True
    architectures: ClassVar[Collection[str] | None] = LAYERS
    devices: ClassVar[tuple[str, ...]] = ("cuda",)

    texts: int = 256
    """Training texts, evenly spread over the split, whose activations are measured."""

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if (shape := plan.shape) and (shape.hidden % 4 or shape.ffn % 4 or (shape.rank or 0) % 4):
            factored = f", rank {shape.rank}" if shape.rank else ""
            raise Unsupported(
                f"{self} needs widths that 4 divides; "
                f"this model has hidden {shape.hidden}, FFN {shape.ffn}{factored}"
            )
        return plan

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier, save_network
        from models.sparse import layer_matrices, lowest

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        norms = input_norms(network, source, workbench, self.texts)
        for linear, norm in zip(layer_matrices(network), norms, strict=True):
            scores = linear.weight.detach().abs() * norm  # [out, in]
            linear.weight.data[lowest(scores.view(-1, 4), 0.5).view_as(scores)] = 0.0
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, sparse=True)
