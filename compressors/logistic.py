"""A light head on frozen features: logistic regression, or ridge for regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.features import FEATURES, TRAIN_FEATURES
from compressors.pca import through_projection
from compressors.static_embeddings import STATIC_FEATURES
from compressors.step import Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Logistic(Step):
    """Fit scikit-learn's head on the kept features; store two tensors, no pickle.

    On static embeddings the head is folded into the table: a row of logits a token (`static-linear`).
    """

    name: ClassVar[str] = "logistic"
    family: ClassVar[str] = "transfer"
    accepts: ClassVar[tuple[str, ...]] = (FEATURES, STATIC_FEATURES)
    produces: ClassVar[str | None] = "pytorch-linear"
    libraries: ClassVar[tuple[str, ...]] = ("scikit-learn",)

    def format_after(self, before: str) -> str:
        return "static-linear" if before == STATIC_FEATURES else "pytorch-linear"

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        from safetensors.numpy import load_file

        from models import linear_head, static_table

        assert source
        features = load_file(source.folder / TRAIN_FEATURES)["features"]  # [n, hidden]
        scale = features.std(axis=0) + 1e-6
        coef, intercept = linear_head.fit(
            features / scale, workbench.labels(), workbench.task.kind, workbench.outputs
        )
        coef, intercept = through_projection(source.folder, coef / scale, intercept)
        if source.format == STATIC_FEATURES:
            table = static_table.load(source.folder)["embeddings"] @ coef.T  # [vocabulary, outputs]
            static_table.save(workbench.folder, table, intercept=intercept)
            workbench.keep(source, "tokenizer.json")
        else:
            linear_head.save(workbench.folder, coef.astype("float32"), intercept)
            workbench.keep(source, "config.json", "model.safetensors", "tokenizer.json")
        return workbench.seal(source, format=self.format_after(source.format))
