"""OpenVINO: `openvino.xml` and `.bin` with inputs input_ids and attention_mask, output logits."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from models.artifact import Artifact
from models.predictors import predict_in_batches
from models.tokenization import Tokens, load_tokenizer, pad, tokenize

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BF16 = "openvino-bf16"
DYNAMIC = ("openvino", BF16)
"""Formats of large weights: a copy of them for every length would take more than it saves."""
IDS = np.int32
"""What the processor's kernels read; the int64 of an exported graph would be converted at every call."""


@dataclass
class OpenVinoPredictor:
    """A model, compiled for any shape, and for one text in a few fixed lengths.

    A graph of a fixed shape plans its memory and kernels once, and its tensors are filled in place:
    a small int8 model answers in half the time. Each is compiled when a text first needs its length.
    """

    model: Any
    settings: dict[str, Any]
    tokenizer: Tokenizer
    pad_id: int
    max_tokens: int
    fixed_lengths: bool
    one_text: dict[int, OneText] = field(default_factory=dict)

    def encode(self, texts: list[str]) -> Tokens:
        return pad(tokenize(self.tokenizer, texts), self.pad_id)

    def forward(self, batch: Tokens) -> np.ndarray:
        texts, tokens = batch.input_ids.shape
        if self.fixed_lengths and texts == 1:
            return self._for_length(min(fixed_length(tokens), self.max_tokens)).forward(batch)
        given = {name: array.astype(IDS) for name, array in batch._asdict().items()}
        logits = self.any_shape.infer(given, share_inputs=True, share_outputs=True)
        return np.array(logits[0])

    def predict(self, texts: list[str], batch_size: int = 32) -> np.ndarray:
        return predict_in_batches(self, texts, batch_size)

    @cached_property
    def any_shape(self) -> Any:
        """The model's request for batches of any shape."""
        return self._compile(self.model)

    def _for_length(self, tokens: int) -> OneText:
        if tokens not in self.one_text:
            fixed = self.model.clone()
            fixed.reshape({port.any_name: [1, tokens] for port in fixed.inputs})
            self.one_text[tokens] = OneText(self._compile(fixed), tokens, self.pad_id)
        return self.one_text[tokens]

    def _compile(self, model: Any) -> Any:
        import openvino

        return openvino.compile_model(model, "CPU", self.settings).create_infer_request()


class OneText:
    """A request for one text of at most so many tokens; its tensors are allocated once."""

    def __init__(self, request: Any, tokens: int, pad_id: int) -> None:
        import openvino

        self.request, self.pad_id = request, pad_id
        self.input_ids = np.full((1, tokens), pad_id, IDS)
        self.attention_mask = np.zeros((1, tokens), IDS)
        for name in ("input_ids", "attention_mask"):
            request.set_tensor(name, openvino.Tensor(getattr(self, name), shared_memory=True))
        self.logits = request.get_output_tensor().data

    def forward(self, batch: Tokens) -> np.ndarray:
        tokens = batch.input_ids.shape[1]
        self.input_ids[:, :tokens] = batch.input_ids
        self.input_ids[:, tokens:] = self.pad_id
        self.attention_mask[:, :tokens] = batch.attention_mask
        self.attention_mask[:, tokens:] = 0
        self.request.infer()
        return self.logits.copy()


def fixed_length(tokens: int) -> int:
    """Round up to one of a few lengths: to 8 tokens, and longer texts to an eighth of their length."""
    step = max(8, 1 << max(0, (tokens - 1).bit_length() - 3))
    return -(-tokens // step) * step


def read(path: Path) -> Any:
    """Read a model, with inputs of `IDS`."""
    import openvino

    model = openvino.Core().read_model(path)
    inputs = openvino.preprocess.PrePostProcessor(model)
    for index in range(len(model.inputs)):
        inputs.input(index).tensor().set_element_type(openvino.Type(IDS))
    return inputs.build()


def prepare() -> None:
    """Load the plugin for the CPU: libraries that the import alone leaves out."""
    import openvino

    openvino.Core().get_property("CPU", "FULL_DEVICE_NAME")


def load(artifact: Artifact, device: str, threads: int) -> OpenVinoPredictor:
    """Load an OpenVINO artifact on the CPU."""
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        # Unasked it would be bf16 wherever the processor has it.
        "INFERENCE_PRECISION_HINT": "bf16" if artifact.format == BF16 else "f32",
    }
    predictor = OpenVinoPredictor(
        read(artifact.folder / "openvino.xml"),
        settings,
        load_tokenizer(artifact.folder, artifact.manifest["max_tokens"]),
        artifact.manifest["pad_id"],
        artifact.manifest["max_tokens"],
        fixed_lengths=artifact.format not in DYNAMIC,
    )
    assert predictor.any_shape  # what cannot be compiled says so now
    return predictor
