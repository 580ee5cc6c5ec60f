"""Unstructured magnitude pruning: the smallest weights become zero, and the matrices keep their shape."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Step, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class PruneMagnitude(Step):
    """Set the share `sparsity` of each encoder matrix to zero, the smallest weights first.

    Han et al. 2015, arXiv 1506.02626; of BERT: Gordon et al. 2020, arXiv 2002.08307. A dense file
    and a dense kernel gain nothing from zeros: the row's bytes, memory and latency stay as they
    were. What changes is `nonzero_parameters`, and the bytes of a chain that ends with `zip`.
    A `finetune` or `distill` that follows keeps the zeros.
    """

    name: ClassVar[str] = "prune-magnitude"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    makes_zeros: ClassVar[bool] = True
    architectures: ClassVar[Collection[str] | None] = LAYERS

    sparsity: float = headline(0.5, low=0.05, high=0.99)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier, save_network
        from models.sparse import layer_matrices, lowest

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        for linear in layer_matrices(network):
            size = linear.weight.detach().abs()  # [out, in]
            linear.weight.data[lowest(size.view(1, -1), self.sparsity).view_as(size)] = 0.0
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, sparse=True)
