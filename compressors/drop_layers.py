"""Dropping the top layers: the simplest way to a shallower network, without any training."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from compressors.distill import fewer_layers, shape_of
from compressors.step import PRETRAINED, PYTORCH, Plan, Step, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class DropLayers(Step):
    """Keep the lowest `layers` layers (Sajjad et al. 2020, arXiv 2004.03844).

    Of the ways that they compare, dropping from the top costs least; `+finetune` recovers.
    """

    name: ClassVar[str] = "drop-layers"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = LAYERS

    layers: int = headline(3, low=1, high=48)

    def plan(self, before: Plan, device: str) -> Plan:
        return replace(super().plan(before, device), shape=fewer_layers(self, before, self.layers))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import layers_of, load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        del layers_of(network)[self.layers :]
        network.config.num_hidden_layers = self.layers
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, shape=shape_of(network, source))
