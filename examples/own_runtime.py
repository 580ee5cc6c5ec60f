"""A runtime of your own: `--extension examples/own_runtime.py --recipe finetune+onnx,finetune+onnx-unoptimized`.

ONNX Runtime without its graph optimizations: what they are worth is the difference of the two rows.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

from compressors import STEPS
from compressors.onnx_export import OnnxExport
from models.artifact import Artifact
from models.predictors import ONNX_RUNTIME, RUNTIMES
from models.predictors.onnx_runtime import OnnxPredictor
from models.tokenization import load_tokenizer

FORMAT = "onnx-unoptimized"


def load(artifact: Artifact, device: str, threads: int) -> OnnxPredictor:
    """Load an artifact of the format; what it returns has `encode`, `forward` and `predict`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        artifact.folder / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    tokenizer = load_tokenizer(artifact.folder, artifact.manifest["max_tokens"])
    return OnnxPredictor(session, tokenizer, artifact.manifest["pad_id"])


@dataclass(frozen=True)
class OnnxUnoptimized(OnnxExport):
    """The same export, of a format that the runtime above executes."""

    name: ClassVar[str] = FORMAT
    produces: ClassVar[str | None] = FORMAT


RUNTIMES[FORMAT] = replace(
    ONNX_RUNTIME, name="ONNX Runtime, unoptimized", predictor=f"{__name__}:load"
)
STEPS[FORMAT] = OnnxUnoptimized
