"""OpenVINO in fp32: what the runtime alone brings, the control of every OpenVINO row."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.step import PYTORCH, Step

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

OPENVINO = "openvino"
MODEL = "openvino.xml"


class UnknownOperation(RuntimeError):
    """A network that cannot be converted; the message names the operations."""


@dataclass(frozen=True)
class OpenVinoExport(Step):
    """Convert with dynamic batch and length; weights stay in fp32.

    Of the last layer the first token alone is computed, which is all that the head reads.
    """

    name: ClassVar[str] = "openvino"
    family: ClassVar[str] = "conversion"
    accepts: ClassVar[tuple[str, ...]] = (PYTORCH,)
    produces: ClassVar[str | None] = OPENVINO
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    libraries: ClassVar[tuple[str, ...]] = ("torch", "transformers", "openvino")
    extras: ClassVar[dict[str, str]] = {"openvino": "openvino"}
    version: ClassVar[int] = 2

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        assert source
        model, facts = convert(source, workbench.outputs)
        return write(model, source, workbench, format=OPENVINO, **facts)


def convert(source: Artifact, outputs: int) -> tuple[Any, dict[str, Any]]:
    """Convert a PyTorch artifact: input_ids and attention_mask [batch, tokens] to logits.

    Returns:
        the OpenVINO model, and what its manifest says of it: the id that pads `input_ids` …

    Raises:
        UnknownOperation: OpenVINO does not know an operation of the network.
    """
    import openvino
    from openvino.frontend import OpConversionFailure

    from models.exporting import example, load_for_export

    network = load_for_export(source.folder, outputs)
    ids, mask = example()
    inputs = {"input_ids": ids, "attention_mask": mask}
    try:
        model = openvino.convert_model(network, example_input=inputs)
    except OpConversionFailure as error:
        if unknown := re.search(r"No conversion rule found for operations: (.+)", str(error)):
            raise UnknownOperation(f"OpenVINO does not know {unknown[1]}") from error
        raise
    for port, name in zip(model.inputs, ("input_ids", "attention_mask"), strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(openvino.PartialShape([-1, -1]))
        port.get_node().set_element_type(openvino.Type.i64)
    model.outputs[0].get_tensor().set_names({"logits"})
    model.validate_nodes_and_infer_types()
    return model, network.facts


def write(
    model: Any, source: Artifact, workbench: Workbench, *, halved: bool = False, **facts: Any
) -> Artifact:
    """Save a model and seal it.

    Args:
        halved: what is fp32 is stored in fp16; OpenVINO would do so unasked.
    """
    import openvino

    openvino.save_model(model, workbench.folder / MODEL, compress_to_fp16=halved)
    workbench.keep(source, "tokenizer.json")
    return workbench.seal(source, **facts)
