"""The weights in a file, read from the file itself: shapes, zeros, and what multiplies."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from models.zipped import extracted

WIDENS = ("embeddings.1.weight", "embeddings_project.weight")
"""Matrices that widen the rows of a factored table: they multiply, though they are embeddings."""
NOT_PARAMETERS = (".scale", ".zero_point", "_scale", "_scales", "_zero_point")
LOOK_UPS = ("Gather", "GatherBlockQuantized")


@dataclass(frozen=True)
class Weight:
    """A tensor of parameters as it lies on the disk."""

    name: str
    shape: tuple[int, ...]
    nonzero: int
    multiplies: bool
    """A matrix that inputs are multiplied by; tables of embeddings are looked up."""

    @property
    def count(self) -> int:
        """Number of parameters."""
        return int(np.prod(self.shape))


def read_weights(path: Path) -> Iterator[Weight]:
    """Yield the weights of a file; none if it is no file of weights."""
    if reader := READERS.get(path.suffix):
        yield from reader(path)


_RAW = {8: np.uint64, 4: np.uint32, 2: np.uint16, 1: np.uint8}


def _nonzero(bits: np.ndarray, kind: str) -> int:
    """Count what is not zero among raw bits of an element type; -0.0 is zero too."""
    if kind.lower().startswith(("f", "bf")):
        bits = bits & ~bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    return int(np.count_nonzero(bits))


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
        bits = np.frombuffer(data[start:end].tobytes(), dtype=_RAW[width])
        if tensor["dtype"] == "U8":  # two 4-bit weights a byte, zero is 8: models.int4
            shape = (*shape[:-1], 2 * shape[-1])
            bits = np.stack([bits & 15, bits >> 4]) ^ 8
        nonzero = _nonzero(bits, tensor["dtype"])
        looked_up = "embeddings" in name and not name.endswith(WIDENS)
        yield Weight(name, shape, nonzero, len(shape) == 2 and not looked_up)


def _onnx(path: Path) -> Iterator[Weight]:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    looked_up = {name for node in graph.node if node.op_type in LOOK_UPS for name in node.input[:1]}
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
        yield Weight(tensor.name, values.shape, int(np.count_nonzero(values)), multiplies)


_BITS = {"f64": 64, "f32": 32, "f16": 16, "bf16": 16, "i8": 8, "u8": 8, "i4": 4, "u4": 4}
"""Element types of OpenVINO that weights have; others are shapes and axes of the graph."""
_PASSES = ("Convert", "Multiply", "Subtract", "Reshape", "FakeQuantize", "FakeConvert", "Transpose")
"""Operations between a weight on the disk and the one that uses it."""


def _openvino(path: Path) -> Iterator[Weight]:
    """Read the graph from the XML file and its constants from the .bin beside it."""
    graph = ElementTree.parse(path).getroot()
    layers = {layer.attrib["id"]: layer for layer in graph.iter("layer")}
    users: dict[str, list[tuple[str, str]]] = {}
    feeds: dict[tuple[str, str], str] = {}
    for edge in graph.iter("edge"):
        start, end, port = (edge.attrib[key] for key in ("from-layer", "to-layer", "to-port"))
        users.setdefault(start, []).append((end, port))
        feeds[end, port] = start
    kind = {name: layer.attrib["type"] for name, layer in layers.items()}

    def uses(node: str) -> set[str]:
        """What a constant ends in, past the operations that only scale it."""
        found: set[str] = set()
        for user, _ in users.get(node, []):
            found |= uses(user) if kind[user] in _PASSES else {kind[user]}
        return found

    def scales(node: str) -> bool:
        """A quantization's scale or zero point: it meets converted integers, or says a range."""
        for user, port in users.get(node, []):
            if kind[user] == "FakeQuantize" and port != "0":
                return True
            other = feeds.get((user, "0"))
            if kind[user] in ("Multiply", "Subtract") and other != node and other is not None:
                before = other
                while kind[before] in ("Convert", "Subtract") and (before, "0") in feeds:
                    before = feeds[before, "0"]
                if before != other and kind[before] == "Const":
                    return True
        return False

    data = np.memmap(path.with_suffix(".bin"), dtype=np.uint8, mode="r")
    for node, layer in layers.items():
        if kind[node] != "Const" or (facts := layer.find("data")) is None:
            continue
        bits = _BITS.get(facts.attrib["element_type"])
        shape = tuple(int(n) for n in facts.attrib["shape"].replace(" ", "").split(",") if n)
        if bits is None or not shape or scales(node):
            continue
        first, size = int(facts.attrib["offset"]), int(facts.attrib["size"])
        raw = np.asarray(data[first : first + size])
        values = np.stack([raw & 15, raw >> 4]) if bits == 4 else raw.view(_RAW[bits // 8])
        nonzero = _nonzero(values, facts.attrib["element_type"])
        multiplies = len(shape) == 2 and "MatMul" in uses(node)
        yield Weight(layer.attrib["name"], shape, nonzero, multiplies)


def _zip(path: Path) -> Iterator[Weight]:
    with extracted(path) as folder:
        for file in sorted(folder.rglob("*")):
            yield from read_weights(file)


READERS: dict[str, Callable[[Path], Iterator[Weight]]] = {
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".xml": _openvino,
    ".zip": _zip,
}
"""How the weights of a file are read, by the end of its name."""
WEIGHT_FILES = (".safetensors", ".onnx", ".bin")
"""Ends of the names of files that hold nothing but weights, or next to nothing."""


def weight_bytes(path: Path) -> int:
    """Return what a file's weights take on the disk; of an archive what they take when deflated."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        return sum(e.compress_size for e in entries if e.filename.endswith(WEIGHT_FILES))
    return path.stat().st_size if path.name.endswith(WEIGHT_FILES) else 0
