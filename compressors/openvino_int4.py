"""int8 for OpenVINO with word embeddings in 4 bits: the table is half of a small model's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from compressors.openvino_int8 import OpenVinoInt8

GROUP = 64
"""Values of a row that share a scale."""


@dataclass(frozen=True)
class OpenVinoInt4(OpenVinoInt8):
    """`openvino-int8`, and int4 word embeddings: symmetric, a scale for every 64 values.

    A table is looked up and not multiplied, so its width costs bytes and hardly time. 4 bits are
    enough for embeddings: Guan et al. 2019, arXiv 1911.02079.
    """

    name: ClassVar[str] = "openvino-int4"
    produces: ClassVar[str | None] = "openvino-int4"

    def quantize(self, model: Any, texts: list[dict[str, Any]], ignored: Sequence[str] = ()) -> Any:
        """Quantize all but the word embeddings to int8, and those to int4."""
        import nncf

        table = word_table(model)
        width = table.input(0).get_partial_shape()[1].get_length()
        return nncf.compress_weights(
            super().quantize(model, texts, [*ignored, table.get_friendly_name()]),
            mode=nncf.CompressWeightsMode.INT4_SYM,
            ratio=1.0,
            all_layers=True,
            group_size=GROUP if width % GROUP == 0 else -1,
        )


def word_table(model: Any) -> Any:
    """Return the look-up in the table [rows, width] that has the most rows of a model.

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
