"""A cheaper activation: ReLU is one comparison, GELU a polynomial and an exponential."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Step
from models.networks import FFN

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

RELU = "relu"


@dataclass(frozen=True)
class Relu(Step):
    """ReLU instead of GELU between the two maps of each FFN (Sun et al. 2020, arXiv 2004.02984).

    No weight changes, and the network answers worse until it learns again: a student that is
    distilled after it learns with the activation that it will have.
    """

    name: ClassVar[str] = "relu"
    family: ClassVar[str] = "activation"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = FFN

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        distilbert = hasattr(network.config, "activation")
        setattr(network.config, "activation" if distilbert else "hidden_act", RELU)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source)
