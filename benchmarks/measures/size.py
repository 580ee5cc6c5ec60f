"""Size on disk, and what is in the files: read from them, never from the object that wrote them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.measures.measure import Measure, Metrics
from compressors.lora import ADAPTER
from models.artifact import Artifact
from reports.records import OK

if TYPE_CHECKING:
    from benchmarks.matrix import Cell
    from benchmarks.session import Session

METRICS: Metrics = {
    "size_bytes": ("B", True),
    "zipped_bytes": ("B", True),
    "parameters": ("", True),
    "nonzero_parameters": ("", True),
    "bits_per_parameter": ("bit", True),
    "macs": ("", True),
    "bytes_per_extra_task": ("B", True),
}
TOKENS = 128
"""`macs` are the multiply-accumulates of one text of so many tokens."""
WIDENS = ("embeddings.1.weight", "embeddings_project.weight")
"""Matrices that widen the rows of a factored table: they multiply, though they are embeddings."""
NOT_PARAMETERS = (".scale", ".zero_point", "_scale", "_zero_point")

Weight = tuple[str, tuple[int, ...], int, bool]
"""Name, shape, non-zero values, and whether it multiplies (embeddings are looked up)."""


def take(session: Session, cell: Cell, artifact: Artifact) -> None:
    """Read the sizes of a cell's files."""
    with session.account.spend("reading sizes"):
        metrics = measure(artifact)
    session.append(cell, "size", OK, artifact=artifact, metrics=metrics)


def measure(artifact: Artifact) -> dict[str, Any]:
    """Return the metrics of `METRICS` for the files that prediction needs (the manifest is not)."""
    files = [file for file in artifact.manifest["files"] if file["needed"]]
    size = sum(file["bytes"] for file in files)
    weights = [weight for file in files for weight in _weights(artifact.folder / file["name"])]
    parameters = sum(int(np.prod(shape)) for _, shape, _, _ in weights)
    weight_bytes = sum(f["bytes"] for f in files if f["name"].endswith((".safetensors", ".onnx")))
    return {
        "size_bytes": size,
        "zipped_bytes": sum(_zipped(artifact.folder / file["name"]) for file in files),
        "parameters": parameters,
        "nonzero_parameters": sum(nonzero for _, _, nonzero, _ in weights),
        "bits_per_parameter": 8 * weight_bytes / parameters if parameters else None,
        "macs": _macs(artifact, weights),
        "bytes_per_extra_task": _bytes_of(artifact, ADAPTER),
    }


def _bytes_of(artifact: Artifact, name: str) -> int | None:
    """Return a file's bytes, needed for prediction or not; None if the artifact has no such file."""
    return next((f["bytes"] for f in artifact.manifest["files"] if f["name"] == name), None)


def _zipped(path: Path) -> int:
    """Compress in blocks of 4 MiB, on all cores: zlib lets go of the interpreter's lock."""
    data = memoryview(path.read_bytes())
    blocks = [data[start : start + (4 << 20)] for start in range(0, len(data), 4 << 20)]
    with ThreadPoolExecutor() as pool:
        return sum(len(packed) for packed in pool.map(partial(zlib.compress, level=1), blocks))


def _macs(artifact: Artifact, weights: list[Weight]) -> int | None:
    """Linear maps by their matrices on disk, attention by the shape; None for linear models."""
    shape = artifact.manifest.get("shape")
    if shape is None:
        return None
    linear = sum(int(np.prod(dims)) for _, dims, _, multiplies in weights if multiplies)
    width = shape.get("attention", shape["hidden"])
    return TOKENS * linear + round(2 * TOKENS * TOKENS * width * shape["layers"])


def _weights(path: Path) -> Iterator[Weight]:
    if path.suffix == ".safetensors":
        yield from _safetensors(path)
    elif path.suffix == ".onnx":
        yield from _onnx(path)


_RAW = {8: np.uint64, 4: np.uint32, 2: np.uint16, 1: np.uint8}


def _safetensors(path: Path) -> Iterator[Weight]:
    """Read the header and the raw bytes: no library is needed, and bf16 counts as it lies there."""
    data = np.memmap(path, dtype=np.uint8, mode="r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    header = json.loads(data[8 : 8 + length].tobytes())
    for name, tensor in header.items():
        if name == "__metadata__" or name.endswith(NOT_PARAMETERS):
            continue
        start, end = (8 + length + offset for offset in tensor["data_offsets"])
        shape = tuple(tensor["shape"])
        count = int(np.prod(shape))
        width = (end - start) // count if count else 1
        # -0.0 is zero too: the sign bit does not count.
        bits = np.frombuffer(data[start:end].tobytes(), dtype=_RAW[width])
        if tensor["dtype"] == "U8":  # two 4-bit weights a byte, zero is 8: models.torchao_weights
            shape = (*shape[:-1], 2 * shape[-1])
            bits = np.stack([bits & 15, bits >> 4]) ^ 8
        sign = np.array(1 << (8 * width - 1), dtype=bits.dtype)
        is_float = tensor["dtype"].startswith(("F", "BF"))
        nonzero = int(np.count_nonzero(bits & ~sign if is_float else bits))
        looked_up = "embeddings" in name and not name.endswith(WIDENS)
        yield name, shape, nonzero, len(shape) == 2 and not looked_up


def _onnx(path: Path) -> Iterator[Weight]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    looked_up = {name for node in graph.node if node.op_type == "Gather" for name in node.input[:1]}
    # A table that is dequantized after the look-up is gathered too; one that is dequantized
    # before it is not multiplied either.
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.output[0] in looked_up:
            looked_up.add(node.input[0])
    for tensor in graph.initializer:
        if tensor.name.endswith(NOT_PARAMETERS):
            continue
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int64:  # shapes and axes of the graph
            continue
        multiplies = values.ndim == 2 and tensor.name not in looked_up
        yield tensor.name, values.shape, int(np.count_nonzero(values)), multiplies


SIZE = Measure("size", METRICS, take)
