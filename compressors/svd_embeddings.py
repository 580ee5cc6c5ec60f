"""Factored word embeddings: a narrow table and one matrix that widens its rows."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PRETRAINED, PYTORCH, Plan, Step, Unsupported, headline
from models.networks import LAYERS

if TYPE_CHECKING:
    import torch

    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class SvdEmbeddings(Step):
    """Factor the word embeddings [words, hidden] into [words, rank] and [rank, hidden].

    ALBERT learns such factors (Lan et al. 2019, arXiv 1909.11942); here they are the best ones of
    the learnt table. The table is half of a small model's bytes; the widening costs little time.
    """

    name: ClassVar[str] = "svd-embeddings"
    family: ClassVar[str] = "factorization"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = None
    architectures: ClassVar[Collection[str] | None] = LAYERS

    rank: int = headline(128, low=1, high=4096)

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        if (shape := plan.shape) is None:
            return plan
        largest = (shape.embedding_rank or shape.hidden) - 1
        if self.rank > largest:
            raise Unsupported(f"{self} does not make the embeddings smaller: at most {largest}")
        return replace(plan, shape=replace(shape, embedding_rank=self.rank))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from torch import nn

        from models.linear_maps import first_of
        from models.networks import load_classifier, save_network

        assert source
        network = load_classifier(source.folder, workbench.outputs, workbench.seed)
        embeddings = network.base_model.embeddings
        words = embeddings.word_embeddings
        rows, width = first_of(words).weight.shape
        now = sum(parameter.numel() for parameter in words.parameters())
        if (largest := (now - 1) // (rows + network.config.hidden_size)) < self.rank:
            raise ValueError(
                f"{self} does not make the embeddings [{rows}, {width}] smaller: at most {largest}"
            )
        narrow, wide = factor_table(whole_table(words), self.rank)
        table = nn.Embedding(rows, self.rank, first_of(words).padding_idx, _weight=narrow)
        widen = nn.Linear(self.rank, len(wide), bias=False)
        widen.weight = nn.Parameter(wide)
        embeddings.word_embeddings = nn.Sequential(table, widen)
        save_network(network, workbench.folder)
        workbench.keep(source, "tokenizer.json")
        shape = source.manifest["shape"] | {"embedding_rank": self.rank}
        return workbench.seal(source, shape=shape, stock=False)


def whole_table(words: Any) -> torch.Tensor:
    """Return the table [words, hidden] of word embeddings, factored or not."""
    from models.linear_maps import first_of, last_of

    table, widen = first_of(words), last_of(words)
    return table.weight if table is widen else table.weight @ widen.weight.T


def factor_table(table: torch.Tensor, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Factor a table [words, hidden] into [words, rank] and a linear map's weight [hidden, rank].

    The eigenvectors of [hidden, hidden] give the factors that decomposing the tall table gives.
    """
    import torch

    tall = table.detach().double()
    squares, vectors = torch.linalg.eigh(tall.T @ tall)  # by rising eigenvalues
    best = vectors[:, -rank:].flip(1)  # [hidden, rank]
    share = squares[-rank:].flip(0).clamp(min=1e-12).sqrt().div(len(tall) ** 0.5).sqrt()
    # Both factors get the same scale, column by column: int8 likes it.
    narrow, wide = tall @ best / share, best * share
    return narrow.to(table.dtype).contiguous(), wide.to(table.dtype).contiguous()
