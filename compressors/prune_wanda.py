"""Unstructured pruning by weights and activations: small weights on small inputs become zero."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.sample import refuse_few
from compressors.step import PRETRAINED, PYTORCH, Step, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class PruneWanda(Step):
    """Set the share `sparsity` of each output row to zero, the lowest |weight| x input norm first.

    Wanda (Sun et al. 2023, arXiv 2306.11695), with the norms of the dense network in one pass; the
    paper takes each layer's after the layers below were pruned. As with every unstructured
    pruning, a dense file and a dense kernel gain nothing from the zeros.
    """

    name: ClassVar[str] = "prune-wanda"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    makes_zeros: ClassVar[bool] = True
    architectures: ClassVar[Collection[str] | None] = LAYERS

    sparsity: float = headline(0.5, low=0.05, high=0.99)
    texts: int = 256
    """Training texts, evenly spread over the split, whose activations are measured."""

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier, save_network
        from models.sparse import layer_matrices, lowest

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        norms = input_norms(network, source, workbench, self.texts)
        for linear, norm in zip(layer_matrices(network), norms, strict=True):
            linear.weight.data[lowest(linear.weight.detach().abs() * norm, self.sparsity)] = 0.0
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, sparse=True)


def input_norms(
    network: Any, source: Artifact, workbench: Workbench, texts: int
) -> list[torch.Tensor]:
    """Return, for each linear map of the encoder, the norm of every input over training tokens, [in]."""
    import numpy as np
    import torch

    from models.sparse import layer_matrices

    ids = workbench.tokens(source, "train")["input_ids"]
    refuse_few(len(ids))
    maps = layer_matrices(network.to(workbench.device))
    squares = [torch.zeros_like(linear.weight[0]) for linear in maps]

    def count(total: torch.Tensor) -> Any:
        def add(_: Any, given: tuple[torch.Tensor]) -> None:
            total.add_(given[0].square().flatten(0, -2).sum(0))  # [batch, tokens, in] to [in]

        return add

    hooks = [
        linear.register_forward_pre_hook(count(total))
        for linear, total in zip(maps, squares, strict=True)
    ]
    chosen = np.linspace(0, len(ids) - 1, min(texts, len(ids))).astype(int)
    with torch.inference_mode():
        for done, row in enumerate(chosen):  # one at a time: padding has activations too
            given = torch.tensor([ids[int(row)]], device=workbench.device)
            network(input_ids=given, attention_mask=torch.ones_like(given))
            workbench.progress(done / len(chosen), "measuring activations")
    for hook in hooks:
        hook.remove()
    network.to("cpu")
    return [total.sqrt().cpu() for total in squares]
