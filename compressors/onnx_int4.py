"""int8 for ONNX Runtime with word embeddings in 4 bits: the table is half of a small model's bytes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from compressors.onnx_int8 import OnnxInt8

GROUP = 64
"""Values of a row that share a scale."""


@dataclass(frozen=True)
class OnnxInt4(OnnxInt8):
    """`onnx-int8`, and int4 word embeddings: symmetric, a scale for every 64 values.

    4 bits for embeddings: Guan et al. 2019, arXiv 1911.02079. They are unpacked as they are looked
    up, which costs up to a sixth of the speed of a slender network (docs/frontier.md).
    """

    name: ClassVar[str] = "onnx-int4"
    produces: ClassVar[str | None] = "onnx-int4"

    def to_quantize(self, graph: Path) -> Any:
        """Return the model with its word embeddings in int4, all else in fp32."""
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

        # Importing it makes every logger talk; it would name each node that it leaves alone.
        logging.getLogger().setLevel(logging.ERROR)
        model = onnx.load(graph)
        table = word_table(model.graph)
        others = [node.name for node in model.graph.node if node.name != table.name]
        quantizer = MatMulNBitsQuantizer(
            model,
            block_size=GROUP,
            is_symmetric=True,
            nodes_to_exclude=others,
            op_types_to_quantize=("Gather",),
        )
        quantizer.process()
        return quantizer.model.model


def word_table(graph: Any) -> Any:
    """Return the look-up in the table [rows, width] that has the most rows of a graph.

    Raises:
        ValueError: it looks nothing up.
    """
    tables = {tensor.name: tensor.dims for tensor in graph.initializer if len(tensor.dims) == 2}
    looked_up = [n for n in graph.node if n.op_type == "Gather" and n.input[0] in tables]
    if not looked_up:
        raise ValueError("the network looks up no table of embeddings")
    return max(looked_up, key=lambda node: tables[node.input[0]][0])
