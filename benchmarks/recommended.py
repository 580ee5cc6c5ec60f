"""The chains worth shipping, for a task and a model, with the measurement that chose each.

They are chosen on the validation split; test is only reported. docs/frontier.md has what they were
chosen from, and how to choose again.
"""

from __future__ import annotations

from typing import NamedTuple


class Choice(NamedTuple):
    """A chain and its figures against the reference, means over the seeds."""

    recipe: str
    why: str
    validation_kept: float
    """Share of the reference's quality on the validation split."""
    test_kept: float
    test_kept_low: float
    """Lower 95 % bound, all seeds together."""
    size_ratio: float
    speedup: float
    speedup_batch: float
    memory_mb: float | None
    """Peak above the runtime's imports; None where that was not kept."""
    build_seconds: float
    """Of all steps, `finetune` among them."""


class Measured(NamedTuple):
    """What was chosen for a task and a model, and how it was measured."""

    task: str
    model: str
    seeds: int
    machine: str
    versions: str
    choices: tuple[Choice, ...]


AMX = "Intel Xeon, 2 cores, AMX"
VERSIONS = "torch 2.13.0, onnxruntime 1.32.0, openvino 2026.4.1"
SLENDER = "prune-heads:0.5+prune-ffn"
"""Makes every layer of a student cheaper: half of its heads, and less of its feed-forward channels."""

RECOMMENDED = (
    Measured(
        task="movies",
        model="minilm-bert",
        seeds=3,
        machine=AMX,
        versions=VERSIONS,
        choices=(
            Choice(
                "finetune+onnx-int8",
                "loses nothing, needs no extra and a minute to build",
                *(0.9988, 0.9981, 0.9946, 3.88, 4.03, 2.12, 97, 63),
            ),
            Choice(
                "finetune+trim-vocab+openvino-int8",
                "faster still, without training a student",
                *(0.9973, 0.9988, 0.9948, 4.70, 4.62, 3.57, 484, 73),
            ),
            Choice(
                "finetune+trim-vocab:14000+distill-long:4+openvino-int4+zip",
                "ten times smaller, and loses nothing: 99 % at its lower bound",
                *(1.0012, 0.9998, 0.9909, 10.17, 6.31, 5.71, 253, 541),
            ),
            Choice(
                f"finetune+tutor:mpnet-base+trim-vocab+{SLENDER}:0.33"
                "+distill-ensemble:3+onnx-int8+zip",
                "ten times smaller and nine times faster, better on other domains, without an extra",
                *(0.9914, 0.9986, 0.9864, 10.66, 9.71, 6.57, 65, 614),
            ),
            Choice(
                f"finetune+tutor:mpnet-base+trim-vocab+{SLENDER}:0.33"
                "+distill-ensemble:3+openvino-int4+zip",
                "ten times smaller and faster, in batches too, and loses half a percent",
                *(0.9957, 1.0002, 0.9881, 13.31, 10.23, 10.97, 192, 615),
            ),
        ),
    ),
    Measured(
        task="movies",
        model="mpnet-base",
        seeds=3,
        machine=AMX,
        versions=VERSIONS,
        choices=(
            Choice(
                "finetune+distill-into:minilm-bert+trim-vocab:12000+openvino-int4+zip",
                "thirty times smaller and more than twenty times faster, by a smaller model",
                *(0.9560, 0.9585, 0.9470, 37.42, 26.54, 24.46, 336, 760),
            ),
        ),
    ),
    Measured(
        task="valence",
        model="minilm-bert",
        seeds=3,
        machine=AMX,
        versions=VERSIONS,
        choices=(
            Choice(
                "finetune+onnx-int8",
                "loses nothing, needs no extra and a minute to build",
                *(0.9971, 0.9982, 0.9965, 3.88, 3.98, 2.01, 97, 58),
            ),
            Choice(
                "finetune+trim-vocab+openvino-int8",
                "faster still, without training a student",
                *(0.9954, 0.9984, 0.9950, 4.70, 4.60, 4.19, 550, 68),
            ),
            Choice(
                f"finetune+trim-vocab+{SLENDER}:0.5+distill-ensemble:3+onnx-int8+zip",
                "more than ten times smaller, nearly as fast, and needs no extra",
                *(0.9989, 1.0001, 0.9901, 11.36, 9.63, 6.66, 59, 419),
            ),
            Choice(
                f"finetune+trim-vocab+{SLENDER}:0.5+distill-ensemble:3+openvino-int4+zip",
                "fourteen times smaller and, but for the noise, ten times faster; more so in batches",
                *(0.9982, 0.9996, 0.9895, 14.32, 9.98, 11.04, 211, 418),
            ),
        ),
    ),
    Measured(
        task="bbc",
        model="minilm-bert",
        seeds=3,
        machine=AMX,
        versions=VERSIONS,
        choices=(
            Choice(
                "finetune+trim-vocab+openvino-int8",
                "loses nothing, without training a student",
                *(0.9987, 1.0026, 0.9982, 5.01, 3.45, 3.36, None, 187),
            ),
            Choice(
                "finetune+max-tokens:96+distill:3+trim-vocab:12000+openvino-int4+zip",
                "more than ten times smaller and faster, by reading less",
                *(0.9870, 0.9949, 0.9833, 12.87, 13.81, 19.77, None, 199),
            ),
            Choice(
                "static-embeddings+logistic",
                "the smallest and the fastest, for two percent",
                *(0.9792, 0.9763, 0.9591, 93.54, 46.67, 49.86, None, 23),
            ),
        ),
    ),
)
