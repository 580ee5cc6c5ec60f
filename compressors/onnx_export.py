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
    """Export with dynamic batch and length; no number changes beyond rounding.

    Of the last layer the first token alone is computed, which is all that the head reads.
    """

    name: ClassVar[str] = "onnx"
    family: ClassVar[str] = "conversion"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = ONNX
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "onnx", "onnxruntime")
    version: ClassVar[int] = 4

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        facts = export(source, workbench.outputs, workbench.folder / "model.onnx")
        workbench.keep(source, "tokenizer.json")
        return workbench.seal(source, format=self.produces, **facts)


def export(source: Artifact, outputs: int, target: Path) -> dict[str, Any]:
    """Write a PyTorch artifact as ONNX: input_ids and attention_mask [batch, tokens] to logits.

    Returns:
        what its manifest says of it: the id that pads `input_ids` …
    """
    import torch

    from models.exporting import example, load_for_export

    network = load_for_export(source.folder, outputs)
    # ONNX has no fused attention, and what stands in for it guards against texts of padding alone.
    network.network.set_attn_implementation("eager")
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    program = torch.onnx.export(
        network,
        example(),
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=(axes, axes),
        verbose=False,
    )
    assert program
    forget_origins(program.model.graph)
    program.save(target, external_data=False)
    return network.facts


def forget_origins(graph: Any) -> None:
    """Remove what the exporter notes of each operation: names of modules, lines and paths of code.

    It is 0.7 MB of a six-layer network, and other bytes on every machine.
    """
    graph.metadata_props.clear()
    for node in graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
