"""Structured pruning of the feed-forward networks: the matrices really become smaller."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported, headline
from models.networks import FFN

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class PruneFfn(Step):
    """Remove the share `sparsity` of each FFN's inner neurons, those of the smallest weights.

    A neuron's importance is the product of its incoming and outgoing weights' norms. McCarley et
    al. 2019 (arXiv 1910.06360) prune the same structures.
    """

    name: ClassVar[str] = "prune-ffn"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = FFN

    sparsity: float = headline(0.5, low=0.05, high=0.95)

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if plan.shape is None:
            return plan
        kept = self.kept(plan.shape.ffn)
        if kept < 1:
            raise Unsupported(f"{self} leaves none of {plan.shape.ffn} neurons")
        return replace(plan, shape=replace(plan.shape, ffn=kept))

    def kept(self, ffn: int) -> int:
        """Neurons that stay, a multiple of 8 where there are enough: kernels like it."""
        kept = round(ffn * (1 - self.sparsity))
        return kept - kept % 8 if kept >= 8 else kept

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import FFN, layers_of, load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        kept = self.kept(source.manifest["shape"]["ffn"])
        into, out = FFN[network.config.model_type]
        for layer in layers_of(network):
            prune_neurons(layer.get_submodule(into), layer.get_submodule(out), kept)
        distilbert = hasattr(network.config, "hidden_dim")
        setattr(network.config, "hidden_dim" if distilbert else "intermediate_size", kept)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, shape=source.manifest["shape"] | {"ffn": kept})


def prune_neurons(into: Any, out: Any, kept: int) -> None:
    """Shrink two linear maps, hidden -> ffn -> hidden, to the `kept` most important neurons."""
    from models.linear_maps import keep_inputs, keep_outputs, matrix

    importance = matrix(into).norm(dim=1) * matrix(out).norm(dim=0)  # [ffn]
    best = importance.topk(kept).indices.sort().values
    keep_outputs(into, best)
    keep_inputs(out, best)
