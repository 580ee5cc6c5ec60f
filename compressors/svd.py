"""Low-rank factorization: two thin matrices in the place of each wide one of the layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Svd(Step):
    """Replace the linear maps of the layers by two of rank `rank`, where that makes them smaller.

    What is kept are the outputs on training text; `svd-plain` keeps the weights. Yuan et al. 2023
    (arXiv 2312.05821) scale each input channel by its magnitude; here the whole covariance of the
    inputs counts (Wang et al. 2024, arXiv 2403.07378), which no other factors of that rank can
    better.
    """

    name: ClassVar[str] = "svd"
    version: ClassVar[int] = 2
    family: ClassVar[str] = "factorization"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = LAYERS

    rank: int = headline(128, low=1, high=4096)
    activation_aware: bool = True
    examples: int = 1024
    """Training examples that the activations are measured on."""

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if before.sparse:
            raise Unsupported(f"{self} of a pruned network: its factors have none of the zeros")
        if (shape := plan.shape) is None:
            return plan
        sides = (shape.hidden, int(shape.attention or shape.hidden)), (shape.hidden, shape.ffn)
        largest = max(largest_rank(*pair) for pair in sides)
        if shape.rank:
            largest = min(largest, shape.rank - 1)
        if self.rank > largest:
            raise Unsupported(f"{self} makes no matrix of this model smaller: at most {largest}")
        return replace(plan, shape=replace(shape, rank=self.rank))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from compressors.sample import batches
        from models.linear_maps import last_of, linear_maps, matrix, two_maps
        from models.networks import layers_of, load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        stack = layers_of(network)
        wide = {n: m for n, m in linear_maps(stack).items() if self.shrinks(m)}
        moments: dict[str, torch.Tensor] = {}
        if self.activation_aware:
            network.to(workbench.device)
            pad_id = network.config.pad_token_id or 0
            sample = batches(workbench, source, pad_id, self.examples)
            moments = second_moments(network, wide, sample)
            network.cpu()
        for done, (name, map) in enumerate(wide.items()):
            into, out = factor(matrix(map), self.rank, moments.pop(name) if moments else None)
            stack.set_submodule(name, two_maps(into, out, last_of(map).bias))
            workbench.progress(done / len(wide), "factoring")
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        shape = source.manifest["shape"] | {"rank": self.rank}
        return workbench.seal(source, shape=shape, stock=False)

    def shrinks(self, map: Any) -> bool:
        """Say whether two factors of the rank are smaller than the map is now."""
        from models.linear_maps import matrix

        now = sum(part.weight.numel() for part in map.modules() if hasattr(part, "weight"))
        return self.rank * sum(matrix(map).shape) < now


def largest_rank(rows: int, columns: int) -> int:
    """Return the largest rank whose two factors are smaller than the matrix."""
    return (rows * columns - 1) // (rows + columns)


def second_moments(
    network: Any, maps: dict[str, Any], batches: Iterable[dict[str, torch.Tensor]]
) -> dict[str, torch.Tensor]:
    """Return the mean of x x^T over the inputs x of each map, float64 [in, in], without padding."""
    import torch

    sums: dict[str, torch.Tensor] = {}
    real = torch.empty(0)
    tokens = 0

    def watch(name: str) -> Any:
        def add(_: Any, arguments: tuple[torch.Tensor, ...]) -> None:
            rows = arguments[0][real].cpu().double()  # [tokens, in]
            sums[name] = sums.get(name, 0) + rows.T @ rows

        return add

    hooks = [map.register_forward_pre_hook(watch(name)) for name, map in maps.items()]
    for batch in batches:
        real = batch["attention_mask"].bool()
        tokens += int(real.sum())
        with torch.inference_mode():
            network(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    for hook in hooks:
        hook.remove()
    return {name: total / tokens for name, total in sums.items()}


def factor(
    weight: torch.Tensor, rank: int, moments: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor a matrix [out, in] into [rank, in] and [out, rank].

    With the inputs' second moments C = L L^T the error of the outputs is |(W - W') L|: the
    decomposition of W L minimises it.
    """
    import torch

    wide = weight.detach().double()
    root = torch.eye(wide.shape[1], dtype=wide.dtype)
    if moments is not None:
        covariance = moments.double()
        damping = 1e-6 * covariance.diagonal().mean()  # channels that are never active
        root = torch.linalg.cholesky(covariance + damping * root)
    left, values, right = torch.linalg.svd(wide @ root, full_matrices=False)
    share = values[:rank].sqrt()  # both factors get the same scale: int8 likes it
    into = torch.linalg.solve_triangular(
        root, share[:, None] * right[:rank], upper=False, left=False
    )
    return into.to(weight.dtype), (left[:, :rank] * share).to(weight.dtype)
