"""The chains worth shipping: for a task and a model a handful, with the measurement that chose each.

They are chosen on the validation split; test is only reported. To choose again:

    pytest benchmarks/ --profile recommended
    python -m reports.studies.chains latest
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A chain, and its figures against the reference: means over the seeds."""

    recipe: str
    why: str
    validation_kept: float
    test_kept: float
    size_ratio: float
    speedup: float


RECOMMENDED: dict[tuple[str, str], tuple[Choice, ...]] = {
    ("movies", "minilm-bert"): (
        Choice("finetune+onnx-int8", "", 0, 0, 0, 0),
        Choice("finetune+trim-vocab+onnx-int8", "", 0, 0, 0, 0),
        Choice("finetune+trim-vocab+openvino-int8", "", 0, 0, 0, 0),
        Choice("finetune+distill:3+onnx-int8", "", 0, 0, 0, 0),
        Choice("finetune+distill:3+trim-vocab+openvino-int8", "", 0, 0, 0, 0),
        Choice("finetune+distill:3+trim-vocab+openvino-int4", "", 0, 0, 0, 0),
        Choice(
            "finetune+distill:3+trim-vocab+svd-embeddings:128+heal+openvino-int4", "", 0, 0, 0, 0
        ),
    )
}
