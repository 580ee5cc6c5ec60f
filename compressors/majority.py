"""The most frequent answer, whatever the text: the row that every other row must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from compressors.step import NOTHING, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact


@dataclass(frozen=True)
class Majority(Step):
    """Log frequencies of the training labels as logits; the mean value for regression."""

    name: ClassVar[str] = "majority"
    family: ClassVar[str] = "control"
    accepts: ClassVar[tuple[str, ...]] = (NOTHING,)
    produces: ClassVar[str | None] = "linear"
    libraries: ClassVar[tuple[str, ...]] = ()

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import numpy as np

        from models import linear_head

        labels = workbench.labels()
        if workbench.task.kind == "regression":
            intercept = np.array([labels.mean()], dtype=np.float32)
        else:
            counts = np.bincount(labels, minlength=workbench.outputs)
            intercept = np.log((counts + 1) / (counts + 1).sum()).astype(np.float32)
        linear_head.save(workbench.folder, np.zeros((workbench.outputs, 0), np.float32), intercept)
        return workbench.seal(source, format=self.produces)
