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
    build_seconds: float | None = None
    """Of all steps, `finetune` among them; None where that was not kept."""


class Measured(NamedTuple):
    """What was chosen for a task and a model, and how it was measured."""

    task: str
    model: str
    seeds: int
    machine: str
    versions: str
    choices: tuple[Choice, ...]


AMX = "Intel Xeon, 2 cores, AMX"
THINNER = "relu+prune-heads:0.5+prune-ffn:0.25"
"""What makes every layer of a student cheaper."""
VERSIONS = "torch 2.13.0, onnxruntime 1.32.0, openvino 2026.4.1"

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
                "loses nothing, needs no extra and seconds to build",
                *(0.9988, 0.9981, 0.9946, 3.88, 3.69, 2.20, 64),
            ),
            Choice(
                "finetune+trim-vocab+openvino-int8",
                "faster still, without training a student",
                *(0.9973, 0.9988, 0.9948, 4.70, 4.36, 3.66, 70),
            ),
            Choice(
                "finetune+trim-vocab:14000+distill-long:4+openvino-int4+zip",
                "ten times smaller, and keeps 99 % at its lower bound",
                *(1.0012, 0.9998, 0.9909, 10.17, 6.31, 5.71, 541),
            ),
            Choice(
                "finetune+trim-vocab:12000+distill-long:3+onnx-int8+zip",
                "ten times smaller within 1 %, by its own network alone and without an extra",
                *(0.9946, 0.9911, 0.9801, 10.89, 7.13, 4.33, 230),
            ),
            Choice(
                "finetune+trim-vocab:12000+distill-long:3+openvino-int4+zip",
                "the smallest and the fastest within 1 % that its own network alone has taught",
                *(0.9914, 0.9901, 0.9791, 12.88, 8.08, 7.51, 231),
            ),
            Choice(
                f"finetune+tutor:mpnet-base+trim-vocab:16000+{THINNER}+distill-ensemble:3+onnx-int8+zip",
                "faster still, better on other domains than the reference, and needs no extra",
                *(0.9930, 1.0002, 0.9877, 11.46, 9.50, 6.47, 857),
            ),
            Choice(
                f"finetune+tutor:mpnet-base+trim-vocab:16000+{THINNER}+distill-ensemble:3+openvino-int4+zip",
                "fourteen times smaller and ten times faster but for the noise, in batches too, within 1 %",
                *(0.9910, 0.9988, 0.9863, 14.10, 9.84, 10.76, 857),
            ),
            Choice(
                "finetune+tutor:mpnet-base+trim-vocab+prune-heads:0.5+prune-ffn:0.33"
                "+distill-ensemble:3+openvino-int4+zip",
                "ten times smaller and faster, in batches too, and loses half a percent",
                *(0.996, 1.000, 0.984, 13.30, 10.40, 11.59, 860),
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
                *(0.9560, 0.9585, 0.9470, 37.42, 26.54, 24.46, 760),
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
                "loses nothing, needs no extra and seconds to build",
                *(0.997, 0.998, 0.997, 3.88, 3.98, 2.01, 58),
            ),
            Choice(
                "finetune+trim-vocab+openvino-int8",
                "faster still, without training a student",
                *(0.995, 0.998, 0.995, 4.70, 4.60, 4.19, 68),
            ),
            Choice(
                f"finetune+trim-vocab:16000+{THINNER}+distill-ensemble:3+onnx-int8+zip",
                "more than ten times smaller and nearly as fast, and needs no extra",
                *(0.998, 0.998, 0.988, 11.43, 9.66, 5.99, 560),
            ),
            Choice(
                f"finetune+trim-vocab:16000+{THINNER}+distill-ensemble:3+openvino-int4+zip",
                "fourteen times smaller and ten times faster but for the noise, in batches too",
                *(0.998, 0.998, 0.987, 14.10, 9.87, 10.88, 561),
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
                *(0.9987, 1.0026, 0.9982, 5.01, 3.45, 3.36, 187),
            ),
            Choice(
                "finetune+max-tokens:96+distill:3+trim-vocab:12000+openvino-int4+zip",
                "more than ten times smaller and faster, within 1 % on test, by reading less",
                *(0.9870, 0.9949, 0.9833, 12.87, 13.81, 19.77, 199),
            ),
            Choice(
                "static-embeddings+logistic",
                "the smallest and the fastest, within 3 % on test",
                *(0.9792, 0.9763, 0.9591, 93.54, 46.67, 49.86, 23),
            ),
        ),
    ),
)
