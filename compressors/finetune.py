"""Fine-tuning: transfer learning of all layers, of the top ones, or of the head alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Finetune(Step):
    """Train on the task's labels (Devlin et al. 2018, arXiv 1810.04805).

    `finetune` trains everything, `finetune:N` the top N layers and the head, `finetune:0` the head
    of a frozen encoder. On an artifact that was trained already (after pruning) it recovers,
    and weights that were pruned to zero stay zero.
    One epoch at 1e-4 is as good as two at 5e-5 here: 0.862 and 0.864 of `movies` (seed 0).
    """

    name: ClassVar[str] = "finetune"
    family: ClassVar[str] = "training"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = PYTORCH
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "accelerate")
    version: ClassVar[int] = 4

    layers: int | None = headline(None, low=0, high=48)
    epochs: int = 1
    learning_rate: float = 1e-4
    head_learning_rate: float = 1e-3
    """Used when the encoder is frozen: a new head alone needs larger steps."""

    def plan(self, before: Plan, device: str) -> Plan:
        if before.shape and self.layers is not None and self.layers > before.shape.layers:
            raise Unsupported(f"{self}: the model has {before.shape.layers} layers")
        if self.layers is not None:
            self.refuse_unknown(before, LAYERS)
        return super().plan(before, device)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        freeze_below(network, self.layers)
        workbench.train(
            network,
            source,
            "train",
            epochs=self.epochs,
            learning_rate=self.head_learning_rate if self.layers == 0 else self.learning_rate,
            first_token=True,
        )
        name_labels(network, workbench)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=PYTORCH)


def freeze_below(network: Any, layers: int | None) -> None:
    """Let only the top `layers` layers and the head learn; None lets everything learn."""
    from models.networks import layers_of

    if layers is None:
        return
    for parameter in network.base_model.parameters():
        parameter.requires_grad_(False)
    stack = layers_of(network)
    for layer in stack[len(stack) - layers :]:
        for parameter in layer.parameters():
            parameter.requires_grad_(True)
    if pooler := getattr(network.base_model, "pooler", None):
        for parameter in pooler.parameters():
            parameter.requires_grad_(True)


def name_labels(network: Any, workbench: Workbench) -> None:
    """Write the task's label names to the config, as the ecosystem expects them."""
    if workbench.task.labels:
        network.config.id2label = dict(enumerate(workbench.task.labels))
        network.config.label2id = {name: i for i, name in enumerate(workbench.task.labels)}
