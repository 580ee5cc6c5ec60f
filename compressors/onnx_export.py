"""ONNX in fp32 for ONNX Runtime: what the runtime alone brings, the control of every ONNX row."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

ONNX = "onnx"


@dataclass(frozen=True)
class OnnxExport(Step):
    """Export with dynamic batch and length; no number changes beyond rounding."""

    name: ClassVar[str] = "onnx"
    family: ClassVar[str] = "conversion"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = ONNX
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx", "onnxruntime")

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        pad_id = export(source, workbench.outputs, workbench.folder / "model.onnx")
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces, pad_id=pad_id)


def export(source: Artifact, outputs: int, target: Path) -> int:
    """Write a PyTorch artifact as ONNX: input_ids and attention_mask [batch, tokens] to logits.

    Returns:
        the id that pads `input_ids`.
    """
    import torch

    from models.networks import load_classifier

    network = load_classifier(source.folder, outputs)

    class LogitsOnly(torch.nn.Module):
        def __init__(self, network: Any) -> None:
            super().__init__()
            self.network = network

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return self.network(input_ids=input_ids, attention_mask=attention_mask).logits

    ids = torch.ones(2, 16, dtype=torch.int64)
    mask = torch.ones(2, 16, dtype=torch.int64)
    mask[1, 8:] = 0
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    torch.onnx.export(
        LogitsOnly(network).eval(),
        (ids, mask),
        target,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=(axes, axes),
        external_data=False,
        verbose=False,
    )
    return int(network.config.pad_token_id or 0)
