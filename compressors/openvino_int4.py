"""int8 for OpenVINO with word embeddings in 4 bits: the table is half of a small model's bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from compressors.openvino_export import open_or_convert, write
from compressors.openvino_int8 import OpenVinoInt8, quantize

if TYPE_CHECKING:
    from compressors.workbench import Workbench
    from models.artifact import Artifact

GROUP = 64
"""Values of a row that share a scale."""


@dataclass(frozen=True)
class OpenVinoInt4(OpenVinoInt8):
    """`openvino-int8`, and int4 word embeddings: symmetric, a scale for every 64 values.

    A table is looked up and not multiplied, so its width costs bytes and hardly time.
    """

    name: ClassVar[str] = "openvino-int4"
    produces: ClassVar[str | None] = "openvino-int4"

    def apply(self, source: Artifact | None, workbench: Workbench) -> Artifact:
        import nncf

        assert source
        model, facts = open_or_convert(source, workbench.outputs)
        table = word_table(model)
        model = quantize(
            model,
            source,
            workbench,
            facts["pad_id"],
            self.calibration_texts,
            [table.get_friendly_name()],
        )
        width = table.input(0).get_partial_shape()[1].get_length()
        model = nncf.compress_weights(
            model,
            mode=nncf.CompressWeightsMode.INT4_SYM,
            ratio=1.0,
            all_layers=True,
            group_size=GROUP if width % GROUP == 0 else -1,
        )
        return write(model, source, workbench, format=self.produces, **facts)


def word_table(model: Any) -> Any:
    """Return the look-up in the largest table [words, width] of a model.

    Raises:
        ValueError: it looks nothing up.
    """
    tables = [
        node
        for node in model.get_ops()
        if node.get_type_name() == "Gather"
        and len(shape := node.input(0).get_partial_shape()) == 2
        and shape.is_static
        and node.input(0).get_element_type().is_real()
    ]
    if not tables:
        raise ValueError("the network looks up no table of embeddings")
    return max(tables, key=lambda node: node.input(0).get_partial_shape()[0].get_length())
