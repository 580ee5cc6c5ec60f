"""A model that is fine-tuned already: nothing is trained, its own head is the reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.finetune import name_labels
from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class AsIs(Step):
    """Take a fine-tuned classifier as it is; its outputs are put in the order of the task's labels.

    In fp32, whatever it was stored in: the reference of every other row.
    """

    name: ClassVar[str] = "as-is"
    family: ClassVar[str] = "training"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED,)
    produces: ClassVar[str | None] = PYTORCH

    def plan(self, before: Plan, device: str) -> Plan:
        if not before.has_head:
            raise Unsupported(f"{self}: the model has no fine-tuned head; start with 'finetune'")
        return replace(super().plan(before, device), has_head=False, as_is=True)

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch

        from models.networks import load_classifier, save_network
        from tasks.labels import match

        assert source
        network = load_classifier(source.folder, workbench.outputs, dtype=torch.float32)
        if labels := workbench.task.labels:
            names = network.config.id2label
            output = match(labels, [names[i] for i in range(len(names))])
            reorder_outputs(network, [output[label] for label in labels])
        name_labels(network, workbench)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=PYTORCH)


def reorder_outputs(network: Any, order: list[int]) -> None:
    """Put a classifier's outputs in another order, in place.

    Args:
        order: for each output after it, the place where it was before.
    """
    from torch import nn

    last = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == len(order)
    ][-1]
    last.weight.data = last.weight.data[order]
    if last.bias is not None:
        last.bias.data = last.bias.data[order]
