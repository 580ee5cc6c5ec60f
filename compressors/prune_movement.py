"""Movement pruning: weights that fine-tuning moves towards zero become zero."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.finetune import name_labels
from compressors.step import PRETRAINED, PYTORCH, Step, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact

STEPS_BETWEEN_MASKS = 10
"""Choosing a mask at every step costs half as much as the step itself, and changes little."""


@dataclass(frozen=True)
class PruneMovement(Step):
    """Fine-tune and, on the way, set the share `sparsity` of each encoder matrix to zero.

    Movement pruning (Sanh et al. 2020, arXiv 2005.07683): each weight has a score that learns with
    the straight-through estimator, and those of the lowest scores are masked. The share rises with
    the cubic schedule of Zhu and Gupta 2017 (arXiv 1710.01878). Scores start as the weights'
    magnitudes: from zero, as in the paper, the few hundred steps of a small task leave them noise,
    and the network at 0.7 answers by chance. As with every unstructured pruning, a dense file and a
    dense kernel gain nothing from the zeros.
    """

    name: ClassVar[str] = "prune-movement"
    version: ClassVar[int] = 5
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = PYTORCH
    makes_zeros: ClassVar[bool] = True
    architectures: ClassVar[Collection[str] | None] = LAYERS
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate")

    sparsity: float = headline(0.7, low=0.05, high=0.99)
    epochs: int = 3
    learning_rate: float = 1e-4
    warm_up: float = 0.1
    """Share of the training before the first weight is masked."""
    cool_down: float = 0.3
    """Share of the training after the last weight was masked: the network recovers."""

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from torch.nn.utils.parametrize import register_parametrization, remove_parametrizations

        from models.networks import load_classifier, save_network
        from models.sparse import keep_zeros, layer_matrices, lowest

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        if source.manifest.get("sparse"):
            keep_zeros(network)
        maps = layer_matrices(network)
        masks = [learnt_mask(linear.weight) for linear in maps]
        for linear, mask in zip(maps, masks, strict=True):
            register_parametrization(linear, "weight", mask)
        step = itertools.count(1)
        share = 0.0

        def prune_and_report(done: float, what: str) -> None:
            nonlocal share
            is_due = next(step) % STEPS_BETWEEN_MASKS == 0 or done == 1
            if is_due and share < self.sparsity:  # then the masks stay, and what is left recovers
                share = self.masked(done)
                for mask in masks:
                    scores = mask.scores.detach()
                    mask.kept.copy_(~lowest(scores.view(1, -1), share).view_as(scores))
            workbench.progress(done, what)

        workbench.train(
            network,
            source,
            "train",
            epochs=self.epochs,
            learning_rate=self.learning_rate,
            progress=prune_and_report,
            first_token=True,
        )
        for linear, mask in zip(maps, masks, strict=True):
            remove_parametrizations(linear, "weight", leave_parametrized=False)
            linear.weight.data[mask.kept == 0] = 0.0
        name_labels(network, workbench)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=PYTORCH, sparse=True)

    def masked(self, done: float) -> float:
        """Return the share of weights that are masked when so much of the training is done."""
        part = (done - self.warm_up) / (1 - self.warm_up - self.cool_down)
        return self.sparsity * (1 - (1 - min(max(part, 0.0), 1.0)) ** 3)


def learnt_mask(weight: torch.Tensor) -> Any:
    """Make a parametrization of a weight: masked going forward, its scores learnt going back.

    The scores start as its magnitudes.
    """
    import torch

    class LearntMask(torch.nn.Module):
        kept: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.scores = torch.nn.Parameter(weight.detach().abs())
            self.register_buffer("kept", torch.ones_like(weight))

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            # The scores add exactly zero; the mask's gradient reaches them as if they were the mask.
            return weight * (self.kept + (self.scores - self.scores.detach()))

    return LearntMask()
