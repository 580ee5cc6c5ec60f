"""Runtimes: an artifact loaded on a device, texts in, logits out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.artifact import Artifact, open_artifact
from models.cascade import parts_of
from models.zipped import SUFFIX, inside


class Predictor(Protocol):
    """An artifact loaded on a device."""

    def encode(self, texts: list[str]) -> Any:
        """Tokenize texts to one padded batch."""

    def forward(self, batch: Any) -> np.ndarray:
        """Compute float32 logits [n, classes] ([n, 1] for regression); the device is synchronized."""

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        """Texts to float32 logits [n, classes], in the order of the texts."""


@dataclass(frozen=True)
class Runtime:
    """What executes a format."""

    name: str
    predictor: str
    """`module:function`; the function takes (artifact, device, threads) and returns a Predictor."""
    modules: tuple[str, ...]
    """What loading imports, but for the architecture: see `modules_of`.

    If importing is not all that a runtime needs before its first artifact, the predictor's module
    has a function `prepare` that does the rest.
    """
    control: str | None = None
    """The recipe whose rows are this runtime's own fp32; None where a runtime has none."""
    devices: tuple[str, ...] = ("cpu",)


PYTORCH = Runtime(
    name="PyTorch",
    predictor="models.predictors.pytorch:load",
    modules=("torch", "transformers.models.auto.modeling_auto", "tokenizers"),
    control="finetune",
    devices=("cpu", "cuda", "mps"),
)
PYTORCH_CPU = replace(PYTORCH, devices=("cpu",))
PYTORCH_GPU = replace(PYTORCH, devices=("cuda", "mps"))
TORCHAO = replace(
    PYTORCH, modules=(*PYTORCH.modules, "torchao.quantization"), devices=("cpu", "cuda")
)
TORCH_COMPILE = Runtime(
    name="torch.compile",
    predictor="models.predictors.compiled:load",
    modules=(*PYTORCH.modules, "torch._inductor.compile_fx"),
    control="finetune+compile",
    devices=("cpu", "cuda"),
)
TORCH_COMPILE_TORCHAO = replace(
    TORCH_COMPILE, modules=(*TORCH_COMPILE.modules, "torchao.quantization"), devices=("cpu",)
)
ONNX_RUNTIME = Runtime(
    name="ONNX Runtime",
    predictor="models.predictors.onnx_runtime:load",
    modules=("onnxruntime", "tokenizers"),
    control="finetune+onnx",
)
OPENVINO = Runtime(
    name="OpenVINO",
    predictor="models.predictors.openvino_runtime:load",
    modules=("openvino", "tokenizers"),
    control="finetune+openvino",
)
LINEAR = Runtime(
    name="scikit-learn",
    predictor="models.predictors.linear:load",
    modules=("sklearn.feature_extraction.text",),
)
CASCADE = Runtime(name="two models", predictor="models.predictors.cascade:load", modules=())
STATIC = Runtime(
    name="NumPy",
    predictor="models.predictors.static:load",
    modules=("tokenizers", "safetensors.numpy"),
)

RUNTIMES: dict[str, Runtime] = {
    "pytorch": PYTORCH,
    "pytorch-bf16": PYTORCH,
    "pytorch-int8": PYTORCH_CPU,
    "pytorch-linear": PYTORCH,
    "pytorch-fp16": PYTORCH_GPU,
    "pytorch-fp8": TORCHAO,
    "pytorch-int8-weights": TORCHAO,
    "pytorch-int4-weights": TORCHAO,
    "pytorch-compiled": TORCH_COMPILE,
    "pytorch-int8-compiled": TORCH_COMPILE_TORCHAO,
    "onnx": ONNX_RUNTIME,
    "onnx-int8": ONNX_RUNTIME,
    "onnx-int4": ONNX_RUNTIME,
    "openvino": OPENVINO,
    "openvino-bf16": OPENVINO,
    "openvino-int8": OPENVINO,
    "openvino-int4": OPENVINO,
    "linear": LINEAR,
    "static-linear": STATIC,
    "cascade": CASCADE,
}
"""Format of an artifact to the runtime that executes it. Add yours with one line."""
RUNTIMES |= {
    format + SUFFIX: replace(runtime, predictor="models.predictors.zipped:load")
    for format, runtime in RUNTIMES.items()
    if runtime in (ONNX_RUNTIME, OPENVINO)
}


def modules_of(artifact: Artifact) -> list[str]:
    """Return what loading an artifact imports: its runtime's modules and its architecture's.

    Of a cascade those of both its parts, of a zipped one those of what is in it.
    """
    runtime = RUNTIMES[artifact.format]
    modules = [*runtime.modules, runtime.predictor.partition(":")[0]]
    config = artifact.folder / "config.json"
    if any(module.startswith("transformers.") for module in modules) and config.exists():
        kind = json.loads(config.read_text(encoding="utf-8"))["model_type"].replace("-", "_")
        modules.append(f"transformers.models.{kind}.modeling_{kind}")
    parts = [inside(artifact)] if artifact.format.endswith(SUFFIX) else parts_of(artifact)
    for part in parts:
        modules += modules_of(part)
    return modules


def load_predictor(folder: Path | Artifact, device: str, threads: int) -> Predictor:
    """Load an artifact on a device with a fixed number of threads.

    Raises:
        ArtifactError: the folder is damaged.
        KeyError: a format without a runtime.
    """
    artifact = folder if isinstance(folder, Artifact) else open_artifact(folder)
    module, function = RUNTIMES[artifact.format].predictor.split(":")
    load: Callable[[Artifact, str, int], Predictor] = getattr(import_module(module), function)
    return load(artifact, device, threads)


def predict_in_batches(predictor: Predictor, texts: list[str], batch_size: int) -> np.ndarray:
    """Predict texts of like lengths together, and return the logits in the order of the texts."""
    if len(texts) <= batch_size:
        return predictor.forward(predictor.encode(texts))
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [
        predictor.forward(predictor.encode([texts[i] for i in order[start : start + batch_size]]))
        for start in range(0, len(order), batch_size)
    ]
    sorted_logits = np.concatenate(parts)
    logits = np.empty_like(sorted_logits)
    logits[order] = sorted_logits
    return logits
