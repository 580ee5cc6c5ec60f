"""Structured pruning of attention heads: those go whose absence the loss would feel least."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PYTORCH, Plan, Step, Unsupported, headline
from models.networks import ATTENTION

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class PruneHeads(Step):
    """Remove the share `sparsity` of all heads, ranked together (Michel et al. 2019, arXiv 1905.10650).

    A head's importance is the loss's gradient by a gate on its output, in absolute value, averaged
    over training examples and divided by the layer's norm. Each layer keeps its best head. The
    layers come out uneven, which no config of transformers can say: the file alone does.
    """

    name: ClassVar[str] = "prune-heads"
    family: ClassVar[str] = "pruning"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = ATTENTION

    sparsity: float = headline(0.5, low=0.05, high=0.95)
    examples: int = 1024
    """Training examples that importance is measured on."""

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if (shape := plan.shape) is None:
            return plan
        size = shape.hidden // shape.heads
        heads = round((shape.attention or shape.hidden) * shape.layers / size)
        kept = self.kept(heads)
        if kept == heads:
            raise Unsupported(f"{self} removes none of {heads} heads: from {0.5 / heads:.2g} on")
        if kept < shape.layers:
            raise Unsupported(
                f"{self} leaves {kept} of {heads} heads, fewer than the {shape.layers} layers: "
                f"at most {1 - shape.layers / heads:.2g}"
            )
        return replace(plan, shape=replace(shape, attention=kept * size / shape.layers))

    def kept(self, heads: int) -> int:
        """Heads that stay, in all layers together."""
        return round(heads * (1 - self.sparsity))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from compressors.sample import batches
        from models.networks import attention_width, layers_of, load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs).to(workbench.device)
        pad_id = network.config.pad_token_id or 0
        importance = head_importance(network, batches(workbench, source, pad_id, self.examples))
        network.cpu()
        kept = best_heads(importance, self.kept(sum(map(len, importance))))
        for layer, heads in zip(layers_of(network), kept, strict=True):
            keep_heads(network, layer, heads)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        shape = source.manifest["shape"] | {"attention": attention_width(network)}
        return workbench.seal(source, shape=shape, stock=False)


def head_importance(network: Any, batches: Iterable[dict[str, torch.Tensor]]) -> list[torch.Tensor]:
    """Return the importance of the heads of each layer, [heads]; a layer's has the norm 1."""
    import torch

    from models.networks import ATTENTION, head_size, layers_of

    size = head_size(network)
    gates: list[torch.Tensor] = []

    def gate(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        (heads,) = arguments  # [batch, tokens, heads * size]
        own = heads.new_ones(len(heads), heads.shape[-1] // size, requires_grad=True)
        gates.append(own)
        return (heads * own.repeat_interleave(size, dim=1).unsqueeze(1),)

    network.requires_grad_(False)
    _, _, joined = ATTENTION[network.config.model_type]
    hooks = [
        layer.get_submodule(joined).register_forward_pre_hook(gate) for layer in layers_of(network)
    ]
    total: list[Any] = [0.0] * len(hooks)
    for batch in batches:
        gates.clear()
        loss = network(**batch).loss * len(batch["labels"])  # a sum: each example has its own gate
        felt = torch.autograd.grad(loss, gates)
        total = [sum_ + own.abs().sum(0).cpu() for sum_, own in zip(total, felt, strict=True)]
    for hook in hooks:
        hook.remove()
    network.requires_grad_(True)
    return [layer / (layer.norm() + 1e-12) for layer in total]


def best_heads(importance: list[torch.Tensor], kept: int) -> list[torch.Tensor]:
    """Return the indices of the `kept` most important heads, by layer; the best of each stay."""
    import torch

    ranked = [layer.clone() for layer in importance]
    for layer in ranked:
        layer[layer.argmax()] = torch.inf
    best = torch.zeros(sum(map(len, ranked)), dtype=torch.bool)
    best[torch.cat(ranked).topk(max(kept, len(ranked))).indices] = True
    return [stay.nonzero().flatten() for stay in best.split([len(layer) for layer in ranked])]


def keep_heads(network: Any, layer: Any, heads: torch.Tensor) -> None:
    """Shrink a layer's attention to the heads of these indices."""
    import torch

    from models.fitting import HEADS, set_heads_width, share_bias
    from models.linear_maps import keep_inputs, keep_outputs
    from models.networks import ATTENTION, head_size

    path, maps, joined = ATTENTION[network.config.model_type]
    attention, size = layer.get_submodule(path), head_size(network)
    channels = (heads[:, None] * size + torch.arange(size)).flatten()
    for name in maps:
        keep_outputs(attention.get_submodule(name), channels)
    keep_inputs(layer.get_submodule(joined), channels)
    if network.config.model_type == "mpnet":
        before = getattr(attention, HEADS, None)
        share_bias(attention, heads if before is None else before[heads])
        set_heads_width(attention)
