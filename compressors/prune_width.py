"""Structured pruning of the hidden size: every matrix of the network becomes narrower."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported, headline
from models.networks import ATTENTION

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class PruneWidth(Step):
    """Remove the share `sparsity` of the hidden size, and the same share of every head's width.

    What hangs together is found by the dependency graph of torch-pruning, and ranked by its group
    magnitude (Fang et al. 2023, arXiv 2301.12900). Heads keep their number and become narrower, so
    that the result is an ordinary network with a smaller `hidden_size`.
    """

    name: ClassVar[str] = "prune-width"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = ATTENTION
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "torch-pruning")
    extras: ClassVar[dict[str, str]] = {"torch_pruning": "pruning"}

    sparsity: float = headline(0.5, low=0.05, high=0.95)

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if (shape := plan.shape) is None:
            return plan
        kept, step = self.kept(shape.hidden, shape.heads), width_step(shape.hidden, shape.heads)
        if not 0 < kept < shape.hidden:
            low, high = 0.5 * step / shape.hidden, 1 - step / shape.hidden
            raise Unsupported(
                f"{self}: the hidden size {shape.hidden} of {shape.heads} heads shrinks by "
                f"multiples of {step}: from {low:.2g} to {high:.2g}"
            )
        attention = shape.attention and shape.attention * kept / shape.hidden
        return replace(plan, shape=replace(shape, hidden=kept, attention=attention))

    def kept(self, hidden: int, heads: int) -> int:
        """Hidden size that stays: a multiple of the heads."""
        step = width_step(hidden, heads)
        return round(hidden * (1 - self.sparsity) / step) * step

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import attention_width, load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        config = network.config
        kept = self.kept(config.hidden_size, config.num_attention_heads)
        narrow(network, kept)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        now = {"hidden": kept, "attention": attention_width(network)}
        return workbench.seal(source, shape=source.manifest["shape"] | now)


def width_step(hidden: int, heads: int) -> int:
    """Return what the hidden size is a multiple of: of 8 too where it can be, kernels like it."""
    step = math.lcm(heads, 8)
    return step if step < hidden else heads


def narrow(network: Any, hidden: int) -> None:
    """Shrink a classifier to a smaller hidden size, in place."""
    import torch
    import torch_pruning
    from torch_pruning import prune_linear_out_channels

    from models.linear_maps import last_of, linear_maps
    from models.networks import ATTENTION, FFN, head_size, layers_of

    config = network.config
    before, size = config.hidden_size, head_size(network)
    stack = layers_of(network)
    ids = torch.ones(1, 8, dtype=torch.int64)
    # The graph follows gradients: without its own, MPNet's position bias does not tie the layers'
    # heads to one another.
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("relative_attention_bias" not in name)
    graph = torch_pruning.DependencyGraph().build_dependency(
        network,
        example_inputs={"input_ids": ids, "attention_mask": ids},
        output_transform=lambda made: made.logits,
    )
    importance = torch_pruning.importance.GroupMagnitudeImportance()

    def shrink(map: Any, blocks: int, kept: int) -> None:
        """Keep the `kept` most important of the outputs of a map in each of its blocks."""
        last = last_of(map)
        group = graph.get_pruning_group(last, prune_linear_out_channels, range(last.out_features))
        ranks = importance(group).view(blocks, -1).argsort(dim=1)  # rising, in each block
        starts = torch.arange(blocks)[:, None] * ranks.shape[1]
        removed = (starts + ranks[:, : ranks.shape[1] - kept]).flatten().sort().values
        graph.get_pruning_group(last, prune_linear_out_channels, removed.tolist()).prune()

    path, (queries, *_), _ = ATTENTION[config.model_type]
    for layer in stack:
        query = layer.get_submodule(f"{path}.{queries}")
        shrink(query, last_of(query).out_features // size, hidden * size // before)
        with torch.no_grad():  # scores are divided by the root of the width: it is another now
            last_of(query).weight.mul_((hidden / before) ** 0.5)
            last_of(query).bias.mul_((hidden / before) ** 0.5)
    shrink(stack[0].get_submodule(FFN[config.model_type][1]), 1, hidden)  # all that is added up
    inside = {id(module) for module in stack.modules()}
    for map in linear_maps(network).values():
        if id(map) not in inside and last_of(map).out_features == before:  # in the head
            shrink(map, 1, hidden)
    network.requires_grad_(True)
    config.hidden_size = hidden
    if getattr(config, "embedding_size", None) == before:
        config.embedding_size = hidden
