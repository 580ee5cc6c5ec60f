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
    """Remove the share `sparsity` of the hidden size, and the same share of every layer's heads.

    What hangs together is found by the dependency graph of torch-pruning, and ranked by its group
    magnitude (Fang et al. 2023, arXiv 2301.12900). Heads keep their width, and the result is an
    ordinary network with a smaller `hidden_size`: on `movies`, with half of the FFN gone too and
    healed for an epoch, MiniLM has 0.771 so and 0.716 with all its heads at half their width.
    Where heads were pruned before, layers have too few to choose from, and each becomes narrower.
    """

    name: ClassVar[str] = "prune-width"
    version: ClassVar[int] = 2
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
        whole = shape.attention in (None, shape.hidden)
        step = width_step(shape.hidden, shape.heads, whole)
        kept = self.kept(shape.hidden, step)
        if not 0 < kept < shape.hidden:
            low, high = 0.5 * step / shape.hidden, 1 - step / shape.hidden
            raise Unsupported(
                f"{self}: the hidden size {shape.hidden} of {shape.heads} heads shrinks by "
                f"multiples of {step}: from {low:.2g} to {high:.2g}"
            )
        attention = shape.attention and shape.attention * kept / shape.hidden
        heads = kept // step if whole else shape.heads
        return replace(plan, shape=replace(shape, hidden=kept, heads=heads, attention=attention))

    def kept(self, hidden: int, step: int) -> int:
        """Hidden size that stays."""
        return round(hidden * (1 - self.sparsity) / step) * step

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from models.networks import attention_width, load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        config = network.config
        whole = has_all_heads(network)
        step = width_step(config.hidden_size, config.num_attention_heads, whole)
        kept = self.kept(config.hidden_size, step)
        narrow(network, kept)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        now = {
            "hidden": kept,
            "heads": config.num_attention_heads,
            "attention": attention_width(network),
        }
        return workbench.seal(source, shape=source.manifest["shape"] | now)


def has_all_heads(network: Any) -> bool:
    """Say whether no layer lost a head before: then heads go as wholes."""
    from models.networks import attention_width

    return attention_width(network) == network.config.hidden_size


def width_step(hidden: int, heads: int, whole: bool) -> int:
    """Return what the hidden size stays a multiple of.

    Args:
        whole: heads go as wholes; else each becomes narrower, by a multiple of 8 where that can be.
    """
    if whole:
        return hidden // heads
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

    def scores(map: Any, blocks: int = 1) -> torch.Tensor:
        """How important the outputs of a map are, with all that hangs on them: [blocks, outputs]."""
        outputs = range(last_of(map).out_features)
        group = graph.get_pruning_group(last_of(map), prune_linear_out_channels, outputs)
        return importance(group).view(blocks, -1)

    def keep(map: Any, best: torch.Tensor) -> None:
        """Shrink a map to the outputs of these indices."""
        removed = torch.ones(last_of(map).out_features, dtype=torch.bool)
        removed[best.flatten()] = False
        indices = removed.nonzero().flatten().tolist()
        graph.get_pruning_group(last_of(map), prune_linear_out_channels, indices).prune()

    path, (queries, *_), _ = ATTENTION[config.model_type]
    maps = [layer.get_submodule(f"{path}.{queries}") for layer in stack]
    ranked = [scores(query, last_of(query).out_features // size) for query in maps]
    if has_all_heads(network) and hidden % size == 0:
        heads = [own.mean(dim=1) for own in ranked]
        encoder = getattr(network.base_model, "encoder", None)
        bias = getattr(encoder, "relative_attention_bias", None)
        if bias is not None:  # one table for all layers, a column a head: they lose the same heads
            heads = [torch.stack(heads).sum(dim=0)] * len(heads)
        for query, own in zip(maps, heads, strict=True):
            best = own.topk(hidden // size).indices.sort().values
            keep(query, best[:, None] * size + torch.arange(size))
        if bias is not None:
            bias.weight = torch.nn.Parameter(bias.weight.detach()[:, best].clone())
            bias.embedding_dim = hidden // size
        config.num_attention_heads = hidden // size
    else:
        for query, own in zip(maps, ranked, strict=True):
            best = own.topk(hidden * size // before, dim=1).indices
            keep(query, best + torch.arange(len(own))[:, None] * size)
            with torch.no_grad():  # scores are divided by the root of the width: it is another now
                last_of(query).weight.mul_((hidden / before) ** 0.5)
                last_of(query).bias.mul_((hidden / before) ** 0.5)
    inside = {id(module) for module in stack.modules()}
    # All that is added up in the layers is one group; then what is as wide in the head.
    summed = stack[0].get_submodule(FFN[config.model_type][1])
    for map in (summed, *linear_maps(network).values()):
        if map is summed or (id(map) not in inside and last_of(map).out_features == before):
            keep(map, scores(map).topk(hidden, dim=1).indices)
    network.requires_grad_(True)
    config.hidden_size = hidden
    if getattr(config, "embedding_size", None) == before:
        config.embedding_size = hidden
