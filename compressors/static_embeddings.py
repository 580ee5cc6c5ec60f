"""Static embeddings: one vector a token instead of a network, distilled without any data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from compressors.features import TRAIN_FEATURES
from compressors.step import PRETRAINED, PYTORCH, Plan, Step
from models.model import Shape

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

    from compressors.workbench import Workbench
    from models.artifact import Artifact

STATIC_FEATURES = "static-features"
"""A table of static embeddings, and the training texts' means of it."""


@dataclass(frozen=True)
class StaticEmbeddings(Step):
    """Ask the encoder about each token alone, reduce and weight what it says: model2vec.

    Tulkens and van Dongen 2024 (Model2Vec, doi 10.5281/zenodo.17270888), with its defaults: 256
    principal components, weights by Zipf's law as in SIF. A text is the mean of its tokens' vectors,
    not scaled to length one, so that a head can be folded into the table: that costs 0.2 points of
    accuracy on `movies` and 0.4 on `bbc` (validation), and makes the artifact 16 times smaller.
    """

    name: ClassVar[str] = "static-embeddings"
    family: ClassVar[str] = "transfer"
    accepts: ClassVar[tuple[str, ...]] = (PRETRAINED, PYTORCH)
    produces: ClassVar[str | None] = STATIC_FEATURES
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "model2vec", "skeletoken")
    extras: ClassVar[dict[str, str]] = {"model2vec": "static", "skeletoken": "static"}

    dimensions: int = 256
    sif_coefficient: float = 1e-4

    def plan(self, before: Plan, device: str) -> Plan:
        plan = super().plan(before, device)
        hidden = min(self.dimensions, before.shape.hidden) if before.shape else self.dimensions
        return replace(plan, shape=Shape(layers=0, hidden=hidden, heads=0, ffn=0))

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import torch
        from model2vec.distill import distill_from_model
        from transformers import PreTrainedTokenizerFast

        from models.networks import load_encoder

        assert source
        torch.manual_seed(workbench.seed)
        encoder = load_encoder(source.folder)
        encoder.name_or_path = str(source.folder)  # or model2vec asks the hub what it is
        workbench.progress(0.0, "asking about every token")
        static = distill_from_model(
            encoder,
            PreTrainedTokenizerFast(tokenizer_file=str(source.folder / "tokenizer.json")),
            device=workbench.device,
            pca_dims=self.dimensions,
            sif_coefficient=self.sif_coefficient,
        )
        return write_static(
            static.tokenizer, static.embedding, static.unk_token_id, source, workbench
        )


def write_static(
    tokenizer: Tokenizer,
    table: np.ndarray,
    unknown_id: int | None,
    source: Artifact,
    workbench: Workbench,
) -> Artifact:
    """Seal a table of static embeddings, [vocabulary, dim], with the training texts' means of it."""
    from safetensors.numpy import save_file

    from models import static_table
    from models.tokenization import load_tokenizer, tokenize

    tokenizer.no_truncation()
    tokenizer.save(str(workbench.folder / "tokenizer.json"))
    static_table.save(workbench.folder, table)
    ids = tokenize(
        load_tokenizer(workbench.folder, workbench.most_tokens(source)), workbench.texts("train")
    )
    words = static_table.lay_end_to_end(ids, unknown_id)
    means = static_table.mean(static_table.load(workbench.folder)["embeddings"], words)
    save_file({"features": means}, workbench.folder / TRAIN_FEATURES)
    return workbench.seal(
        source,
        format=STATIC_FEATURES,
        shape=None,
        unknown_id=unknown_id,
        not_needed=(TRAIN_FEATURES,),
    )
